# Everything a user or a developer does with this folder. Each target installs what it needs.
# PYTHON=python3.12 make …   takes another interpreter (3.11 or newer) for a new .venv.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(VENV)/.installed-bench
FUZZ_INSTALLED := $(VENV)/.installed-fuzz
AWSCLI := .tools/awscli/.installed
UV := .tools/uv/bin/uv
UV_VERSION := 0.13.9

# The first interpreter that is new enough and really starts (a version manager may put up shims for absent ones).
FIND_PYTHON = for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if "$$python" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; python=; done; \
	[ -n "$$python" ] || { echo "make: no Python 3.11 or newer found; PYTHON=/path/to/python3 make … names one" >&2; exit 1; }

.PHONY: help install demo test check docs bench bench-api fuzz simulate force kill-rounds lock format clean

help:  ## what can be done here
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

install: $(INSTALLED)  ## put Haulier and its tools into .venv, by the locked versions

$(INSTALLED): requirements/dev.txt pyproject.toml
	@$(FIND_PYTHON); \
	[ -x $(BIN)/python ] || { echo "make: .venv with $$($$python --version)"; "$$python" -m venv $(VENV); }
	@echo "make: installing the locked packages"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(BENCH_INSTALLED): requirements/bench.txt $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

$(FUZZ_INSTALLED): requirements/fuzz.txt $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/fuzz.txt
	@touch $@

# A judge of the S3 wire. It pins a botocore of its own, so it lives by itself; its tests are skipped where it is missing.
$(AWSCLI): requirements/awscli.txt
	@$(FIND_PYTHON); echo "make: installing the AWS command line"; \
	if { [ -x .tools/awscli/bin/python ] || "$$python" -m venv .tools/awscli; } && .tools/awscli/bin/python -m pip install --quiet \
	    --disable-pip-version-check --require-hashes -r requirements/awscli.txt; then touch $@; \
	else echo "make: it could not be installed; its tests are skipped" >&2; fi

demo: $(INSTALLED)  ## three real jobs on a real store, checked at the end; KEEP=1 leaves both running
	@$(BIN)/haulier demo $(if $(filter-out 0,$(KEEP)),--keep)

test: check $(AWSCLI)  ## checks, then every test
	@$(BIN)/python -m pytest $(ARGS)

check: $(INSTALLED)  ## format, lint, types, direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(INSTALLED)  ## write the generated pages of docs/reference anew
	@PYTHONPATH=docs:tests $(BIN)/python -m generator

format: $(INSTALLED)  ## rewrite the code as `check` wants it
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(BENCH_INSTALLED)  ## speed and memory beside s5cmd, on an nginx that answers at once (installs nginx where it is missing)
	@$(BIN)/python bench/run.py $(ARGS)

bench-api: $(BENCH_INSTALLED)  ## what the API answers while a job runs, and what beyond its capacity
	@$(BIN)/python bench/api.py $(ARGS)

kill-rounds: $(INSTALLED)  ## kill -9 the server ten times during a copy job, then count every key of the report
	@$(BIN)/python bench/kill_rounds.py $(ARGS)

force: $(INSTALLED)  ## kill, freeze and cut off server, runners and store in ROUNDS=200 seeds from SEED=0 on, ten minutes at a time
	@$(BIN)/python bench/force.py --rounds $(or $(ROUNDS),200) --seed $(or $(SEED),0) $(ARGS)

fuzz: $(FUZZ_INSTALLED)  ## look for inputs that break a parser, SECONDS=60 on each of TARGETS, guided by coverage
	@for target in $(or $(TARGETS),$(notdir $(wildcard tests/fuzz/corpus/*))); do \
	  echo "make: $$target"; $(BIN)/python tests/fuzz/run.py "$$target" $(or $(SECONDS),60) || exit 1; done

simulate: $(INSTALLED)  ## run the engine under fake time with everything going wrong: SEEDS=200 of them, from FROM=0 on
	@nice -n 10 $(BIN)/python -m haulier.testing.simulation --seeds $(or $(SEEDS),200) --from $(or $(FROM),0) $(ARGS)

lock: $(UV)  ## work out requirements/*.txt anew from pyproject.toml
	@compile() { $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --custom-compile-command "make lock" --upgrade "$$@"; }; \
	compile pyproject.toml --extra dev --output-file requirements/dev.txt; \
	compile pyproject.toml --output-file requirements/runtime.txt --constraint requirements/dev.txt; \
	compile pyproject.toml --extra demo --extra bench --output-file requirements/bench.txt --constraint requirements/dev.txt; \
	compile pyproject.toml --extra fuzz --output-file requirements/fuzz.txt --constraint requirements/dev.txt; \
	compile requirements/awscli.in --output-file requirements/awscli.txt

$(UV):
	@$(FIND_PYTHON); "$$python" -m venv .tools/uv
	@.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

clean:  ## remove what the targets above made, except for locks and results of benchmarks
	@rm -rf $(VENV) .tools build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
