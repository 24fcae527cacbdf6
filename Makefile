# Two commands for a fresh machine: `make demo` and `make test`.
# They need python3, venv and make; the first of them sets .venv up.

PYTHON ?= python3
VENV := .venv

.PHONY: demo test

demo: $(VENV)/installed
	$(VENV)/bin/irno demo

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
