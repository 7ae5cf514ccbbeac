# `make` lists the targets. Everything runs in $(VENV), which is made when it is first needed and
# updated when pyproject.toml or constraints.txt change. Needed beforehand: Python 3.10+, make, git.

VENV ?= .venv
BIN := $(VENV)/bin
# The first of these that is new enough; name another one with `make PYTHON=...`.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	&& { echo $$python; break; }; done)
# The interpreters that `make lock` resolves for.
PYTHONS ?= python3.10 python3.11 python3.12 python3.13
# Set OPEN=1 to have `make demo` open the dashboard in a browser.
OPEN ?=
# Given to pytest: `make test ARGS="-k digits"`.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint types format bench lock plotly clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

DEMO_READY := $(VENV)/.ready-demo
DEV_READY := $(VENV)/.ready-dev

define install
	@test -n "$(PYTHON)" || { echo "error: no Python 3.10 or newer was found on PATH;" \
		"install python3, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" tools/environment.py "$(VENV)" $(1)
endef

$(DEMO_READY): pyproject.toml constraints.txt
	$(call install,demo)
	@touch $@

$(DEV_READY): pyproject.toml constraints.txt
	$(call install,dev)
	@touch $(DEMO_READY) $@

demo: $(DEMO_READY) ## search a digits classifier from start to end; OPEN=1 opens the dashboard
	@OPEN="$(OPEN)" sh examples/digits/demo.sh "$(abspath $(BIN))" "$(abspath demo)"

test: $(DEV_READY) ## run the tests; ARGS="-k name" picks some, ARGS="-n 0" uses one process
	@$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(ARGS)

lint: $(DEV_READY) ## check format, code and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports

types: $(DEV_READY) ## check the types
	@$(BIN)/mypy

format: $(DEV_READY) ## format the code and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(DEV_READY) ## measure; ARGS="cli rows" picks some
	@$(BIN)/python -m benchmarks $(ARGS)

lock: $(DEV_READY) ## write constraints.txt anew, with the newest versions that fit
	@$(BIN)/python tools/lock.py $(PYTHONS)

plotly: ## build the part of Plotly that the pages draw with; needs Node.js
	@cd tools/plotly && npm ci && npm run build

clean: ## remove what the demo, the tests and the checks left (the environment stays)
	@rm -rf demo examples/*/sweep.yaml build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
