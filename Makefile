# Two commands for a fresh machine: `make demo` and `make test`.
# They need python3, venv and make; the first of them sets .venv up.
#
# For a release: `make dist` builds and checks sdist and wheel; `make constraints`, `make licences` and `make sbom` write
# constraints-hashed.txt, docs/licences.md and build/sbom.json.
#
# `make docs` builds the documentation as a site, in build/docs/html, and runs the examples for its gallery.
#
# `make test-peers` tries the real models of other packages, each in an environment of its own under .peers.
# POSEIDON=folder and NEURALOPERATOR_MAIN=folder are checkouts of repositories that have no package.
#
# `make test-compiled` compares every correction compiled with itself as it is, in minutes.
# `make test-packages` compiles exported models and a program in C++ that runs them, in minutes; it needs a C++ compiler and cmake.

PYTHON ?= python3
VENV := .venv
# Tests of a file share what they set up, so a file stays in one process.
PARALLEL := --numprocesses logical --maxprocesses 8 --dist loadfile

TOOLS := build/tools
RUNTIME := build/runtime

PAGES := sphinx-build --fail-on-warning --keep-going --nitpicky --quiet -d build/docs/doctrees docs build/docs/html

.PHONY: demo test test-peers test-packages test-compiled docs dist constraints licences sbom

demo: $(VENV)/installed
	$(VENV)/bin/irno demo

test: $(VENV)/installed
	$(VENV)/bin/python -m pytest $(PARALLEL)

test-peers: $(VENV)/installed
	$(VENV)/bin/python tests/peers/run.py

test-packages: $(VENV)/installed
	PACKAGES=1 $(VENV)/bin/python -m pytest -p no:xdist tests/exporting/test_packages.py

test-compiled: $(VENV)/installed
	COMPILED=1 $(VENV)/bin/python -m pytest $(PARALLEL) tests/integration/test_compiled.py

# Of an example that has not changed the gallery keeps the output.
docs: $(VENV)/with-docs
	OMP_NUM_THREADS=1 $(VENV)/bin/$(PAGES)

dist: $(VENV)/installed
	.ci/dist $(VENV)/bin/python

# Without torch and what its CUDA builds bring: which build fits depends on the machine, and so does its hash.
constraints: $(TOOLS)/installed
	$(TOOLS)/bin/uv pip compile pyproject.toml --extra dev --extra docs --constraint constraints.txt --python-version 3.11 --upgrade \
	    --generate-hashes --no-header --no-annotate --quiet --output-file build/compiled.txt
	awk -f .ci/hashed.awk build/compiled.txt > constraints-hashed.txt

licences: $(VENV)/installed
	mkdir -p build
	PYTHONPATH=. $(VENV)/bin/python .ci/licences.py > build/licences.md
	mv build/licences.md docs/licences.md

# Of what a user gets: the package and what it needs, without extras.
sbom: $(TOOLS)/installed
	rm -rf $(RUNTIME)
	$(PYTHON) -m venv --without-pip $(RUNTIME)
	$(TOOLS)/bin/python -m pip --python $(RUNTIME)/bin/python install --quiet --constraint constraints.txt .
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	    --output-format JSON --output-file build/sbom.json $(RUNTIME)/bin/python

$(TOOLS)/installed:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet uv cyclonedx-bom
	touch $@

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

$(VENV)/with-docs: $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@
