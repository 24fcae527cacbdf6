# Two commands for a fresh machine: `make demo` and `make test`.
# They need python3, venv and make; the first of them sets .venv up.
#
# `make test-peers` tries the real models of other packages, each in an environment of its own under .peers.
# POSEIDON=folder and NEURALOPERATOR_MAIN=folder are checkouts of repositories that have no package.

PYTHON ?= python3
VENV := .venv
# Tests of a file share what they set up, so a file stays in one process.
PARALLEL := --numprocesses logical --maxprocesses 8 --dist loadfile

.PHONY: demo test test-peers

demo: $(VENV)/installed
	$(VENV)/bin/irno demo

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest $(PARALLEL)

test-peers: $(VENV)/installed
	$(VENV)/bin/python tests/peers/run.py

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
