# Needs python3 (3.11 or newer) with venv, and nothing else by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SERVICES := chromium nginx openssl postgresql prometheus qemu-user tini wrk

.DEFAULT_GOAL := help
.PHONY: help install serve test test-quick test-services test-slow services lint bench clean

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 12

install: $(READY) ## set up .venv; TORCH_INDEX=URL takes torch and torchvision from another package index

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Inkling needs Python 3.11 or newer; PYTHON=python3.12 make ... names another")'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo 'Inkling needs the venv module of Python; on Debian and Ubuntu: apt-get install python3-venv'; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/pip install --quiet --disable-pip-version-check --index-url $(TORCH_INDEX) torch torchvision)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,evaluate,dev]'
	@touch $@

serve: $(READY) ## serve on http://127.0.0.1:8000 with the released model
	@exec $(BIN)/inkling serve

test: $(READY) ## run the tests that need no foreign program, some in processes of their own: 6 minutes on two cores
	$(BIN)/python -m pytest -m 'not services and not slow' --numprocesses 2 --dist worksteal

test-quick: $(READY) ## run the tests without a mark: about a minute
	$(BIN)/python -m pytest -m 'not processes and not services and not slow' --numprocesses 2 --dist worksteal

services: ## install what the tests marked services need, on Debian as root
	apt-get update
	apt-get install --yes --no-install-recommends $(SERVICES)

test-services: $(READY) ## run the tests that need PostgreSQL, Chromium and other foreign programs: minutes
	$(BIN)/python -m pytest -m 'services and not slow' --numprocesses 2 --dist worksteal

test-slow: $(READY) ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: $(READY) ## ruff, mypy and the rules of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## run the benchmarks, each of which prints a table
	$(BIN)/python -m benchmarks.tutorial
	$(BIN)/python -m benchmarks.learning
	$(BIN)/python -m benchmarks.steps
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.bounds

clean: ## remove the virtual environment
	rm -rf $(VENV)
