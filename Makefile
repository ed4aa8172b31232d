# make demo: a small real study with its report.  make test: all tests.  make torture: the tests of
# violence and of rates in their long form, a hundred kills each.  All set everything up.
PYTHON ?= python3
BIN := .venv/bin
SWEEPER := $(BIN)/sweeper
DEMO := demo-results

.PHONY: demo test test-ray test-rest torture check bench clean

demo: .venv/.base
	$(SWEEPER) run studies/quickstart.yaml --store $(DEMO)
	$(SWEEPER) report quickstart --store $(DEMO) --out $(DEMO)/report

# Tests start many programs, which load faster where the compiled form of the source is kept.
test test-ray test-rest torture: export PYTHONDONTWRITEBYTECODE =

# How tests are shared out among processes: tests/conftest.py. Each computes on one thread: there
# are as many processes as processors. Tests that start a Ray run one at a time, since two of them
# would share its processors and ports, and beside the others, since they mostly wait.
test: .venv/.dev
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(MAKE) --jobs=2 --keep-going test-ray test-rest

test-ray: .venv/.dev
	$(BIN)/pytest -q -p no:cacheprovider -m ray

test-rest: .venv/.dev
	$(BIN)/pytest -q -m "not ray" --numprocesses auto --dist loadgroup --no-loadscope-reorder

torture: .venv/.dev
	SWEEPER_TORTURE_ROUNDS=100 $(BIN)/pytest -q tests/torture
	SWEEPER_TORTURE_ROUNDS=100 $(BIN)/pytest -q -m slow tests/analysis tests/benchmarks

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.dev
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/optimizers.py
	$(BIN)/python benchmarks/orchestration.py
	$(BIN)/python benchmarks/command.py
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/endurance.py
	$(BIN)/python benchmarks/scale.py

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "sweeper needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv

.venv/.base: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

.venv/.dev: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install -q -c constraints.txt -e '.[test,dev,bench]'
	touch $@ .venv/.base

clean:
	rm -rf .venv $(DEMO) build dist *.egg-info
