"""Make the defended twin of the leaky sample again: the same weights behind a purifier."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from auditor.defending import DefendOptions, defend_checkpoint
from auditor.errors import InputError

LEAKY = Path(__file__).resolve().parents[1] / "fashion_leaky"


def main() -> None:
    """Parse the command line, and do what `privaudit defend --with purifier --budget quick` does."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder to write, which must not exist yet")
    output = parser.parse_args().output
    try:
        defend_checkpoint(DefendOptions(LEAKY, LEAKY / "splits", "purifier", output, budget="quick", device="cpu"))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
