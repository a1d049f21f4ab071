# Makunouchi: every target installs what it needs. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The first Python from 3.11 on that runs. The names of a version manager may be on PATH without a Python behind them.
FIND_PYTHON = for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$name && break; done
PYTHON ?= $(shell $(FIND_PYTHON))
PORT ?= 3000
HOST ?= 127.0.0.1
# Downloads and trained models of the tests. Outside the clone, so that the next run reuses them.
export MAKUNOUCHI_CACHE ?= $(HOME)/.cache/makunouchi
# mypy takes 50 s without its cache, and 13 s with it.
export MYPY_CACHE_DIR ?= $(MAKUNOUCHI_CACHE)/mypy
# The model store. MODEL_STORE is a shorter name for BentoML's own variable.
MODEL_STORE ?= $(HOME)/bentoml
export BENTOML_HOME ?= $(MODEL_STORE)
export BENTOML_DO_NOT_TRACK := True
# Python writes the bytecode of a package on its first import, also where the environment says otherwise: that is 6 s of
# processor time for the training packages. Compiling all packages at installation takes 49 s.
export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup train evaluate evaluate-tables serve dev check static types lint test test-fast bench bench-memory bench-models soak attack bento image test-container lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv and install the locked versions, with uv or pip

$(READY): pyproject.toml requirements.lock
	@echo "> install into $(VENV)"
	@test -x $(BIN)/python || $(or $(PYTHON),$(error no Python of 3.11 or later on PATH)) -m venv $(VENV)
	@$(BIN)/python -m deploy.install
	@touch $(READY)

train: $(READY)  ## train the default models that are missing or of an older recipe (FORCE=1: all)
	@$(BIN)/python -m training $(if $(FORCE),--force)

evaluate-tables: $(READY)  ## compare tabular training with LightGBM's defaults on 17 public tables, about 10 minutes: ONLY=wine
	@$(BIN)/python -m training.tabular.evaluate $(if $(ONLY),--only $(ONLY))

serve: train  ## train the missing models, then serve on PORT (3000)
	@exec $(BIN)/bentoml serve service:Gateway --host $(HOST) --port $(PORT)

# The watch makes a newly saved version answer within a second.
dev: train  ## as serve; changes of your own classes answer within two seconds: MAKUNOUCHI_PYTHON_MODEL=name
	@MAKUNOUCHI_RELOAD_CODE=true MAKUNOUCHI_WATCH_STORE_S=$${MAKUNOUCHI_WATCH_STORE_S:-1} \
		exec $(BIN)/bentoml serve service:Gateway --host $(HOST) --port $(PORT)

check: static  ## ruff, deptry, mypy --strict, import rules
	@$(BIN)/python -m pytest --quiet tests/test_imports.py

# Two at a time, because mypy uses one core. `make test` runs the import rules with the other tests.
static: $(READY)
	@$(MAKE) --no-print-directory --jobs 2 types lint

types: $(READY)
	@$(BIN)/mypy

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/deptry .

# Several processes, because much time goes by in waits. WORKERS=1 runs one.
PYTEST = $(BIN)/python -m pytest --dist loadgroup --no-loadscope-reorder --numprocesses $(or $(WORKERS),3)

test: static  ## check, then the whole test suite, in three processes
	@$(PYTEST)

# No check, no server, no container, no training; at most 90 s on two cores.
test-fast: $(READY)  ## the fast tests, in three processes: TESTS=tests/models narrows them down
	@$(PYTEST) --quiet -m "not live and not slow and not container" $(TESTS)

# ONLY=tabular PEERS=ours,fastapi ROUNDS=1 SECONDS=2 restrict the run; `$(BIN)/python -m benchmarks --help` lists the options.
BENCH = $(BIN)/python -m benchmarks
BENCH_OPTIONS = $(if $(ONLY),--only $(ONLY)) $(if $(PEERS),--peers $(PEERS)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	$(if $(SECONDS),--seconds $(SECONDS)) $(if $(REQUESTS),--requests $(REQUESTS))

# ALGORITHMS=ease,als SPLIT=last restrict the run, SET=ease.l2=500 changes hyperparameters; two-level takes one to two
# minutes per seed. URL=http://... measures a running service, with a model of `training.recommender --holdout`.
evaluate: $(READY)  ## measure the recommenders on MovieLens-100K: SEED=0 SEEDS=5 JSON=1, or a service: URL=http://...
	@$(if $(URL),$(BIN)/python -m training.evaluate_service --url $(URL) $(if $(JSON),--json) \
		$(if $(ALGORITHMS),--algorithms $(ALGORITHMS)),$(BIN)/python -m training.evaluate --seed $(or $(SEED),0) --seeds $(or $(SEEDS),5) $(if $(JSON),--json) \
		$(if $(ALGORITHMS),--algorithms $(ALGORITHMS)) $(if $(SPLIT),--split $(SPLIT)) $(if $(SET),--set $(SET)))

bench: train  ## measure this service and its peers, about 20 minutes; writes benchmarks/RESULTS.md
	@command -v wrk > /dev/null || { echo "error: wrk is not installed; run: apt-get install wrk" >&2; exit 1; }
	@ls "$(BENTOML_HOME)"/models/image-resnet18/*/card.json > /dev/null 2>&1 || \
		$(BIN)/python -m training.image --arch resnet18 --weights none --name image-resnet18 || \
		echo "the ResNet-18 scenarios are skipped"
	@ls "$(BENTOML_HOME)"/models/image-bf16/*/card.json > /dev/null 2>&1 || \
		$(BIN)/python -m training.image --precision bf16 --min-agreement 0.98 --name image-bf16 || \
		echo "the bfloat16 scenario is skipped"
	@$(BENCH) run $(BENCH_OPTIONS)

soak: $(READY)  ## ten minutes of load and faults; memory of each process at intervals: SECONDS=600 PLACEMENT=process
	@$(BIN)/python -m tests.soak --seconds $(or $(SECONDS),600) --placement $(or $(PLACEMENT),process)

attack: train  ## attack a service in production settings, at most ten minutes: SHORT=1 ONLY=json OUTPUT=results.json
	@$(BIN)/python -m tests.attack $(if $(SHORT),--short) $(if $(ONLY),--only $(ONLY)) \
		$(if $(OUTPUT),--output $(OUTPUT))

bench-memory: train  ## compare the memory after a million requests with that after ten thousand
	@command -v wrk > /dev/null || { echo "error: wrk is not installed; run: apt-get install wrk" >&2; exit 1; }
	@$(BENCH) memory $(BENCH_OPTIONS)

bench-models: $(READY)  ## compare a service with 100 models to one with three: start, memory, requests/s; needs wrk: MODELS=100
	@command -v wrk > /dev/null || { echo "error: wrk is not installed; run: apt-get install wrk" >&2; exit 1; }
	@$(BIN)/python -m tests.measure.many_models --models $(or $(MODELS),100)

bento: train  ## build the Bento (`bentoml build`)
	@$(BIN)/bentoml build

image: train  ## build the container image: ENGINE=podman VARIANT=gpu BASE=debian STORAGE=folder
	@$(BIN)/python -m deploy.image $(if $(ENGINE),--engine $(ENGINE)) $(if $(VARIANT),--variant $(VARIANT)) \
		$(if $(BASE),--base $(BASE)) $(if $(STORAGE),--storage $(STORAGE))

test-container: $(READY)  ## build the image and run it (needs podman and runc, or docker)
	@TEST_CONTAINER=1 $(BIN)/python -m pytest tests/deploy/test_container.py

# One lock for every Python from 3.11 on. uv ignores pip's configuration here, because a lock must not depend on files of
# this machine. UV_DEFAULT_INDEX names another index.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --custom-compile-command "make lock"
LOCK_FILES = $(LOCK) --generate-hashes --only-binary :all: --constraint requirements.lock

lock: $(READY)  ## upgrade within pyproject.toml's bounds and write the locks, for Python 3.11, 3.12, 3.13 and later
	@$(LOCK) --upgrade --extra train --extra dev --extra scale --extra s3 --extra hf --output-file requirements.lock pyproject.toml
	@$(LOCK_FILES) --output-file requirements.serving.lock pyproject.toml
	@$(LOCK_FILES) --extra gpu --output-file requirements.serving-gpu.lock pyproject.toml
	@echo uv | $(LOCK_FILES) --output-file deploy/container/requirements.build.lock -

clean:  ## remove the files that the targets made inside the clone
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
