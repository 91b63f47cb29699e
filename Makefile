# vpptwin: `make demo` and `make test` do everything on a fresh machine with Python 3.11 or newer.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
WORKERS ?= auto

.PHONY: demo test lint bench torture clean

demo: $(VENV)/.run
	$(BIN)/vpptwin run examples/sites/homes.yaml --out runs/demo --force

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) --durations=10 tests

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks

torture: $(VENV)/.test
	VPPTWIN_TORTURE=1 $(BIN)/python -m pytest -n $(WORKERS) -m torture --timeout=3600 tests

clean:
	rm -rf $(VENV) runs build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[test,audit]'
	touch $@ $(VENV)/.run
