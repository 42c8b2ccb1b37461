# Everything a person does with a checkout. Needs Python 3.11+ and make; `make` alone lists the targets.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Linux without an NVIDIA card: PIP_EXTRA_INDEX_URL=<PyTorch's index of CPU builds> saves gigabytes of CUDA.
TORCH := torch==2.13.0
EXTRAS := local,gatt,dev
PACKAGES := adherence benchmarks gateway gatt strategies

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup serve demo test lint bench constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## install everything into .venv (done by the other targets when needed)

$(STAMP): pyproject.toml constraints.txt
	@if [ -z "$(PYTHON)" ]; then \
		echo "gattway needs Python 3.11 or newer on the PATH; name it with: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "gattway needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)" >&2; exit 2; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) (a few minutes the first time) ..."
	@$(PYTHON) -m venv $(VENV) || { \
		echo "Python's venv module is incomplete; on Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 2; }
	@# torch first, by itself: a CPU build that is at hand is taken, and the rest then keeps it.
	@$(PIP) install -qq --constraint constraints.txt $(TORCH)
	@$(PIP) install -qq --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@$(PIP) check
	@touch $@

serve: setup ## serve on 127.0.0.1:8000 with the embedded models
	@$(BIN)/gattway serve

demo: setup ## compare both arms over 20-turn conversations, with a table and a plot
	@$(BIN)/python -m benchmarks demo

test: setup ## run all tests, the fast ones first
	@$(BIN)/python -m pytest

lint: setup ## ruff, mypy --strict, import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(PACKAGES)
	@$(BIN)/python -m pytest -q tests/test_imports.py

bench: setup ## the benchmarks that fit one machine, results under benchmarks/results/
	@$(BIN)/python -m benchmarks adherence
	@$(BIN)/python -m benchmarks engine
	@$(BIN)/python -m benchmarks statistics
	@$(BIN)/python -m benchmarks frontier
	@$(BIN)/python -m benchmarks cost
	@$(BIN)/python -m benchmarks counting
	@$(BIN)/python -m benchmarks ledger
	@$(BIN)/python -m benchmarks load

constraints: ## resolve all versions anew into constraints.txt
	@$(PYTHON) -m venv $(VENV)-constraints
	@$(VENV)-constraints/bin/python -m pip install --quiet --dry-run --ignore-installed --report $(VENV)-constraints/report.json \
		$(TORCH) '.[$(EXTRAS),postgres]'
	@$(VENV)-constraints/bin/python .ci/constraints.py $(VENV)-constraints/report.json > constraints.txt.new
	@mv constraints.txt.new constraints.txt
	@rm -rf $(VENV)-constraints

clean: ## remove .venv, caches and what runs left behind
	@rm -rf $(VENV) $(VENV)-constraints .cache .demo build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} + ; rm -rf *.egg-info
