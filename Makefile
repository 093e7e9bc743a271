# Sealward: what a developer runs, and what CI runs. `make help` lists it.
#
# A fresh machine needs make and Python 3.11 or newer with venv. Everything else is installed into .venv
# from hash-pinned locks, once, and again when a lock changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TYPED := sealward devkit/sealward_devkit
PROTOS := sealward/protos/agent.proto

# Two workers: the suite waits for processes and disks as often as for a core. `make test WORKERS=0` runs in one process.
WORKERS ?= 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test tests check format lint types contracts protos-unchanged bench soak fmt protos lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## play the main job through real processes, and check every answer
	$(BIN)/python -m sealward_devkit.demo

test: check tests ## everything that a landing must keep true

tests: $(INSTALLED) ## all tests but the long campaigns
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "not soak"

check: format lint types contracts protos-unchanged ## everything that needs no run: format, lint, types, import contracts, generated code

format: $(INSTALLED)
	$(BIN)/ruff format --check .

lint: $(INSTALLED)
	$(BIN)/ruff check .

types: $(INSTALLED)
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

contracts: $(INSTALLED)
	$(BIN)/lint-imports

protos-unchanged: $(INSTALLED)
	$(BIN)/python tools/generate_protos.py --check

bench: $(INSTALLED) ## measure, and write docs/benchmarks.md
	$(BIN)/python benchmarks/report.py

soak: $(INSTALLED) ## the long campaigns, whole
	SEALWARD_SOAK=whole $(BIN)/pytest -m soak --timeout 0

fmt: $(INSTALLED) ## format, and mend what the linter can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

protos: $(INSTALLED) ## generate sealward/protos from its .proto file
	$(BIN)/python tools/generate_protos.py

lock: ## resolve the locks again (needs uv; UPGRADE="--upgrade --exclude-newer '1 week'" takes newer releases)
	sh tools/lock.sh $(UPGRADE)

clean: ## remove the environment and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage build dist

$(INSTALLED): requirements-dev.lock pyproject.toml devkit/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "make: $(PYTHON) is not Python 3.11 or newer: install it, or say which to use: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "make: $(PYTHON) has no venv module: install it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e devkit
	@touch $@
