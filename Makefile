# The two commands of the README: `make sim` and `make test`. Nothing but Python 3.11 and make
# is needed; both make .venv first. PYTHON names another interpreter, SIM other flags, TEST_WORKERS
# how many processes run the tests.
PYTHON ?= python3
SIM ?= --clients 8
TEST_WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# Real recordings are used, and tested on, where this folder is; empty where there is none.
ECG_DATA ?= $(wildcard data)
export ECG_DATA
export FLWR_TELEMETRY_ENABLED := 0
export RAY_USAGE_STATS_ENABLED := 0

.PHONY: sim test test-slow mutate docs check clean

sim: $(VENV)/installed
	$(BIN)/python run_sim.py $(SIM)

test: $(VENV)/installed
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile

# Whole deployments, one in network namespaces (needs the right to make these); a Ray cluster; the
# tutorial's commands.
test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow

# Deliberate faults in the rooms that matter most: at least nine in ten must be noticed.
mutate: $(VENV)/installed
	$(BIN)/python tests/mutate.py --count 14 --seed 2

# API pages, and the picture of the architecture from the code's own imports.
docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python docs/make_architecture.py
	$(BIN)/python -m pdoc --output-directory build/docs fl partitions clients server heartfed run_sim

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "HeartFed needs Python 3.11 or newer; name one with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
