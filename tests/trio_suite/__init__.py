"""Trio's own tests, run on uringtrio: `make test-trio`, or `python -m trio_suite` beside it."""
