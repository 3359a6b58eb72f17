# `make help` lists the targets. Needs Python 3.11 or later; another one: `make run PYTHON=python3.12`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test cover check bench audit clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: $(VENV)/.runs ## Install what is needed, start MongoDB and Sheaf, serve until Ctrl-C
	@$(BIN)/python manage.py runserver $(ARGS)

test: $(VENV)/.tests ## Run the tests; ARGS="-k name" chooses some
	@$(BIN)/python -m pytest $(ARGS)

cover: $(VENV)/.tests ## Run the tests and show which lines and branches none of them reaches
	@$(BIN)/python -m pytest --cov --cov-branch $(ARGS)

check: $(VENV)/.tests ## Everything CI checks: lint, format, types, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(BIN)/python -m pytest $(ARGS)

bench: $(VENV)/.tests ## Measure against the peers (minutes; see docs/performance.md)
	bench/run.sh

audit: $(VENV)/.tests ## Ask PyPI for known vulnerabilities of the pinned packages
	$(BIN)/pip-audit --requirement requirements.txt

clean: ## Remove the environment and caches; ./data stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The files are marks: pip runs again only when a list of requirements has changed.
$(VENV)/.runs: requirements.txt requirements-local.txt | $(BIN)/python
	$(PIP) -r requirements.txt -r requirements-local.txt
	@touch $@

$(VENV)/.tests: requirements-dev.txt $(VENV)/.runs
	$(PIP) -r requirements-dev.txt
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
