"""The JSON Schemas in this folder, from the models that read and write the files: `make schemas`."""  # noqa: INP001

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from auditor.findings import AuditReport
from auditor.policy_file import Policy

__all__ = ["SCHEMAS", "text_of", "write"]

FOLDER = Path(__file__).parent
SCHEMAS: dict[str, tuple[type[BaseModel], str]] = {
    "report.schema.json": (AuditReport, "report.json, as privaudit scan writes it"),
    "policy.schema.json": (Policy, "privaudit.toml, or [tool.privaudit] of a pyproject.toml"),
}


def text_of(name: str) -> str:
    """One schema: of what is written for the report, of what may be written for the policy."""
    model, title = SCHEMAS[name]
    mode = "serialization" if model is AuditReport else "validation"
    content = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema(mode=mode)}
    return json.dumps(content | {"title": title}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write() -> None:
    """Write all of them."""
    for name in SCHEMAS:
        (FOLDER / name).write_text(text_of(name), encoding="utf-8")


if __name__ == "__main__":
    write()
