# `make` tells what there is. Everything runs in .venv, also where another environment is active.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.privaudit-installed
SAMPLE := sample_models/fashion_leaky

# One thread per process: the audit brings its own workers.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup venv demo test lint format types schemas

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

setup: $(STAMP) ## create .venv and install privaudit into it (once)
venv: setup

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -e '.[dev]'
	touch $@

demo: setup ## audit the leaky sample model; reports in privaudit-report/
	$(BIN)/privaudit scan $(SAMPLE)/ --data $(SAMPLE)/splits --budget quick --run-dir privaudit-runs/demo
	@printf '\nThe reports:\n'; ls privaudit-report/report.*

test: setup ## the test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

lint: setup ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: setup ## let ruff fix and format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

schemas: setup ## docs/schema/*.json, from the models
	$(BIN)/python docs/schema/make.py

types: setup ## mypy, strict
	$(BIN)/mypy
