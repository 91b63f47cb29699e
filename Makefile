# vpptwin: `make demo` and `make test` do everything on a fresh machine with Python 3.11 or newer.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
WORKERS ?= auto
DERTWIN := $(VENV)/dertwin/bin/dertwin

.PHONY: demo test lint bench emhass torture dertwin lab clean

demo: $(VENV)/.run
	$(BIN)/vpptwin run examples/sites/homes.yaml --out runs/demo --force

test: $(VENV)/.test
	VPPTWIN_DERTWIN=$(abspath $(wildcard $(DERTWIN))) $(BIN)/python -m pytest -n $(WORKERS) --durations=10 tests

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks

# EMHASS in an environment of its own, 1.1 GB: a yardstick of `python -m benchmarks.emhass`, nothing else needs it
emhass: $(VENV)/.run
	$(BIN)/python -m benchmarks.emhass.install

torture: $(VENV)/.test
	VPPTWIN_DERTWIN=$(abspath $(wildcard $(DERTWIN))) VPPTWIN_TORTURE=1 \
	  $(BIN)/python -m pytest -n $(WORKERS) -m torture --timeout=3600 tests

# The laboratory bench: another project's device server, in an environment of its own since it wants another pymodbus.
dertwin: $(DERTWIN)

lab: $(VENV)/.test $(DERTWIN)
	VPPTWIN_DERTWIN=$(abspath $(DERTWIN)) VPPTWIN_TORTURE=1 \
	  $(BIN)/python -m pytest -k planned tests/devices/commission/test_lab.py

clean:
	rm -rf $(VENV) benchmarks/emhass/.venv runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[test,audit]'
	touch $@ $(VENV)/.run

$(DERTWIN): tests/dertwin-constraints.txt
	$(PYTHON) -m venv $(VENV)/dertwin
	$(VENV)/dertwin/bin/python -m pip install --quiet --disable-pip-version-check -c $< dertwin
	touch $@
