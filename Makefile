# What a developer runs, and what CI runs. `make help` lists it.
#
# A fresh machine needs make and Python 3.11 or newer with venv. Everything else is installed into
# .venv from a hash-pinned lock: once, and again when a lock or a pyproject.toml changes.

PYTHON ?= python3
WORKERS ?= 2
EXAMPLES ?= 20000
MUTATIONS ?= 1000000
UPGRADE ?=
ATTESTER ?= snp

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PROTOC := $(BIN)/python -m grpc_tools.protoc -I. \
  --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc
PROTO := sealward/protos/agent.proto

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test tests check format lint types contracts protos-unchanged bench soak fmt protos lock clean

help: ## list the targets
	@awk -F ': .*## |:.*## ' '/^[a-z-]+:.*## / { printf "make %-18s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## play the main job through real processes and check every answer (ATTESTER=snp, tdx, nitro; tpm: on swtpm)
	$(BIN)/python -m sealward_devkit.demo --attester $(ATTESTER)

test: check tests ## all that a landing must keep true: check, then tests

tests: $(INSTALLED) ## every test but the long campaigns (WORKERS=0: in one process)
	$(BIN)/pytest -n $(WORKERS) -m 'not soak'

check: format lint types contracts protos-unchanged ## what needs no run: format, lint, types, import contracts, generated code

format: $(INSTALLED) ## is every file formatted?
	$(BIN)/ruff format --check .

lint: $(INSTALLED) ## ruff, every rule but those that pyproject.toml gives a reason against
	$(BIN)/ruff check .

types: $(INSTALLED) ## mypy: strict for what ships, a laxer profile for tests
	$(BIN)/mypy

contracts: $(INSTALLED) ## which room may import which
	$(BIN)/lint-imports --no-logo

protos-unchanged: $(INSTALLED) ## is the generated code what the .proto file gives?
	@draft=$$(mktemp -d) && trap 'rm -rf "$$draft"' EXIT \
	  && $(PROTOC) --python_out="$$draft" --grpc_python_out="$$draft" \
	       --mypy_out=quiet:"$$draft" --mypy_grpc_out=quiet:"$$draft" $(PROTO) \
	  && for file in "$$draft"/sealward/protos/*; do \
	       cmp "$$file" "sealward/protos/$${file##*/}" \
	         || { echo "generated code differs: run 'make protos'" >&2; exit 1; }; \
	     done

protos: $(INSTALLED) ## generate sealward/protos from its .proto file
	$(PROTOC) --python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet:. $(PROTO)

bench: $(INSTALLED) ## measure, and write docs/benchmarks.md
	$(BIN)/python benchmarks/report.py

soak: $(INSTALLED) ## the long campaigns, whole, and docs/soak.md (hours; EXAMPLES for each property, MUTATIONS for each parser)
	SEALWARD_EXAMPLES=$(EXAMPLES) SEALWARD_MUTATIONS=$(MUTATIONS) $(BIN)/python tests/soak/report.py

fmt: $(INSTALLED) ## format, and mend what the linter can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock: ## resolve the locks again; needs uv (UPGRADE='--upgrade --exclude-newer "1 week"')
	sh tools/lock.sh $(UPGRADE)

clean: ## remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage build dist

$(INSTALLED): requirements-dev.lock pyproject.toml devkit/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "$(PYTHON) is not Python 3.11 or newer; name one that is: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module; install it (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "installing into $(VENV) from requirements-dev.lock"; $(PYTHON) -m venv $(VENV); }
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation -e . -e devkit
	@touch $@
