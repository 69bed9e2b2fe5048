# Needs Python 3.10 or newer, make and, the first time, a network. Every target makes its own environment.
RECENT  = -c 'import sys; sys.exit(sys.version_info < (3, 10))'
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
            $$p $(RECENT) 2>/dev/null && echo $$p && break; done)
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed

.PHONY: help venv demo test installs restarts gate papers bench lint types docs coverage clean
.DEFAULT_GOAL := help

help:  ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: $(STAMP)  ## Make the environment .venv with the tested versions

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) $(RECENT) || \
		{ echo 'No Python 3.10 or newer was found; name one: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e '.[dev,bench,fast,bm3d,distributed]'
	@touch $@

demo: $(STAMP)  ## Reconstruct from several kinds of data with every prior; writes results/demo/index.html
	$(BIN)/python -m benchmarks demo

test: $(STAMP)  ## The tests, without the slow ones (some minutes)
	$(BIN)/python -m pytest -q -m 'not slow and not gpu'

installs: $(STAMP)  ## Build wheel and sdist, install each of them elsewhere and import everything
	$(BIN)/python -m pytest -q -m slow tests/test_packaging.py

restarts: $(STAMP)  ## Kill workers, runs and streams in the middle; nothing may be lost
	$(BIN)/python -m pytest -q -m slow tests/test_benchmarks_cluster.py tests/test_benchmarks_papers.py tests/test_frames.py

gate: $(STAMP)  ## Is any of a small set of reconstructions worse than benchmarks/reference.json?
	$(BIN)/python -m benchmarks gate

papers: $(STAMP)  ## The founding papers on one page, quickly; writes results/papers/index.html
	$(BIN)/python -m benchmarks papers --quick

bench: $(STAMP)  ## Every benchmark with what scikit-image has (hours on two cores)
	$(BIN)/python -m benchmarks all

lint: $(STAMP)  ## Style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)  ## Types, strictly
	$(BIN)/mypy

docs: $(VENV)/.docs  ## The documentation, in docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -d docs/_build/doctrees docs docs/_build/html

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

coverage: $(STAMP)  ## The same tests with line and branch coverage
	$(BIN)/coverage run -m pytest -q -m 'not slow and not gpu'
	$(BIN)/coverage report --skip-covered

clean:  ## Remove what the targets made, except results/
	rm -rf $(VENV) build dist docs/_build docs/gallery .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage *.egg-info
