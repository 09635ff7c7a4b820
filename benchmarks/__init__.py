"""Studies of the instrument; each script is run by itself, see docs/validation/README.md."""
