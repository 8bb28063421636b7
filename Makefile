# Everything starts here. Each target sets up what it needs; a second time that costs nothing.
#   make run      the demo: a company's history, a real Airflow, this morning's messages     (about 4 minutes)
#   make ui       serve that Airflow on localhost (PORT=8080, SCHEDULES=on lets it start runs by itself)
#   make demo-salesforce, make demo-hubspot    the same company read from a stand-in for that CRM
#   make fresh    remove the demo; the next `make run` shows today's morning
#   make quick    the quick tests (TESTS="tests/test_main.py" names some)   make test     all tests (PostgreSQL and a real Airflow too)
#   make check    format, lint, types, and the house's arrows
#   make bench    measure (the million too: DEALS="10000 100000 1000000"; a larger CRM: CRM="200000 1600000")
#   make lock     resolve the requirements files anew
#   make venv     only make the environment  make clean    remove environments; never the data

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8080
SCHEDULES ?=
TESTS ?=
CRM ?= 20000 160000

# A shell that forbids to keep compiled files would have each process that a test or Airflow starts compile all anew.
export PYTHONDONTWRITEBYTECODE :=

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: run demo-salesforce demo-hubspot ui venv fresh quick test check bench lock clean postgresql

BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
# One that lies in an environment goes with it.
THEIR_UV := $(filter-out $(abspath $(BIN))/% $(if $(VIRTUAL_ENV),$(VIRTUAL_ENV)/%),$(shell command -v uv 2>/dev/null))
UV := $(or $(THEIR_UV),$(BIN)/uv)
PIP := $(BIN)/python -m pip --disable-pip-version-check
# An index that pip was told of is one that uv does not know of. (grep -q would end pip's list early, which fails.)
HAS_OWN_INDEX := $(PIP) config list | grep -E '[.](index-url|no-index)=' >/dev/null
# uv installs in seconds what takes pip minutes. pip does it where uv is not, or finds no way to the packages.
install = { test -x "$(UV)" && ! $(HAS_OWN_INDEX) && \
	"$(UV)" pip install --quiet --compile-bytecode --python $(BIN)/python $(1); } || \
	{ echo "pip installs; the first time that takes minutes ..."; $(PIP) install --quiet $(1); }

run: $(READY)
	@$(BIN)/python -m dealwatch.launch run

demo-salesforce: $(READY)
	@$(BIN)/python tests/demo_crm.py salesforce

demo-hubspot: $(READY)
	@$(BIN)/python tests/demo_crm.py hubspot

ui: $(READY)
	@$(BIN)/python -m dealwatch.launch ui --port $(PORT) $(if $(filter on,$(SCHEDULES)),--schedules)

fresh: $(READY)
	@$(BIN)/python -m dealwatch.launch fresh

quick: $(READY_DEV)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not airflow and not slow" $(TESTS)

# Three files at a time on two cores: part of the time they wait, for processes that die on purpose and for Airflow.
test: $(READY_DEV) postgresql
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not airflow"
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m airflow

check: $(READY_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_house.py

bench: $(READY_DEV) postgresql
	$(BIN)/python tests/bench_crm.py $(CRM)
	$(BIN)/python tests/bench.py $(DEALS)

venv: $(READY)

lock: $(READY_DEV)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
		pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --extra dev \
		-c requirements.txt pyproject.toml -o requirements-dev.txt

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache

# The PostgreSQL tests start a server of their own, so its programs must be here.
postgresql:
	@if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && ! command -v initdb >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "Installing PostgreSQL for the tests ..."; \
			(apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql) \
				>/dev/null 2>&1 || echo "PostgreSQL could not be installed: its tests will be skipped."; \
		else \
			echo "PostgreSQL is not installed: its tests will be skipped."; \
		fi; \
	fi

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
		echo "Python 3.11, 3.12 or 3.13 is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
		echo "Name another, as in: make $(firstword $(MAKECMDGOALS) run) PYTHON=python3.12" >&2; exit 1; }
	@echo "Making the environment $(VENV) ..."
	@$(if $(THEIR_UV),"$(UV)" venv --quiet --seed --python "$$(command -v $(PYTHON))" $(VENV),$(PYTHON) -m venv $(VENV))
	@test -x "$(UV)" || $(HAS_OWN_INDEX) || \
		$(PIP) install --quiet -c requirements-dev.txt uv || echo "uv could not be installed: pip takes minutes instead."

$(READY): requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing the requirements ..."
	@$(call install,-r requirements.txt)
	@$(call install,--no-deps --editable .)
	@touch $@

$(READY_DEV): requirements-dev.txt pyproject.toml | $(READY)
	@echo "Installing the development requirements ..."
	@$(call install,-r requirements-dev.txt)
	@touch $@
