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
# The image, and the same environment in a folder: extras besides the core, as in local,postgres.
IMAGE_EXTRAS :=
IMAGE := gattway
DEST := build/image-env
OUT := dist
TOOLS := .cache/tools
PACKAGES := adherence benchmarks gateway gatt strategies

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup serve demo test lint docs bench image image-env licences sbom audit constraints locks clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

docs: setup ## the documentation as a site, in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

bench: setup ## the benchmarks that fit one machine, results under benchmarks/results/
	@$(BIN)/python -m benchmarks adherence
	@$(BIN)/python -m benchmarks engine
	@$(BIN)/python -m benchmarks statistics
	@$(BIN)/python -m benchmarks frontier
	@$(BIN)/python -m benchmarks cost
	@$(BIN)/python -m benchmarks counting
	@$(BIN)/python -m benchmarks ledger
	@$(BIN)/python -m benchmarks load

image: ## build the container image with docker; IMAGE_EXTRAS=local,postgres puts these in
	@docker build --tag $(IMAGE) --build-arg EXTRAS="$(IMAGE_EXTRAS)" --build-arg PIP_EXTRA_INDEX_URL .

image-env: ## make the image's environment in the empty folder DEST=..., without docker
	@$(PYTHON) deploy/image/build.py "$(DEST)" --extras "$(IMAGE_EXTRAS)"

$(DEST)/bin/gattway:
	@$(MAKE) --no-print-directory image-env

# What looks at the supply chain, away from the project's own environment.
$(TOOLS)/.set-up: deploy/image/locks/tools.txt
	@$(PYTHON) -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes --requirement $<
	@touch $@

licences: $(TOOLS)/.set-up $(DEST)/bin/gattway ## licences of all that is in the image, into dist/; fails on one that is not allowed
	@$(PYTHON) .ci/licences.py --tools $(TOOLS) --environment "$(DEST)" --out "$(OUT)"

sbom: $(TOOLS)/.set-up $(DEST)/bin/gattway ## all that is in the image as CycloneDX, into dist/gattway.cdx.json
	@mkdir -p "$(OUT)"
	@$(TOOLS)/bin/cyclonedx-py environment "$(DEST)/bin/python" --pyproject pyproject.toml --mc-type application \
		--output-reproducible --output-file "$(OUT)/gattway.cdx.json"

audit: $(TOOLS)/.set-up ## known vulnerabilities in what the image is locked to
	@$(PYTHON) .ci/audit.py --tools $(TOOLS)

constraints: ## resolve all versions anew into constraints.txt
	@$(PYTHON) -m venv $(VENV)-constraints
	@$(VENV)-constraints/bin/python -m pip install --quiet --dry-run --ignore-installed --report $(VENV)-constraints/report.json \
		$(TORCH) '.[$(EXTRAS),postgres]'
	@$(VENV)-constraints/bin/python .ci/constraints.py $(VENV)-constraints/report.json > constraints.txt.new
	@mv constraints.txt.new constraints.txt
	@rm -rf $(VENV)-constraints

locks: $(TOOLS)/.set-up ## hash what the image is made of, at the versions of constraints.txt
	@PATH="$(TOOLS)/bin:$$PATH" $(PYTHON) .ci/locks.py

clean: ## remove .venv, caches and what runs left behind
	@rm -rf $(VENV) $(VENV)-constraints .cache .demo build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} + ; rm -rf *.egg-info
