# Everything runs in .venv, which is made on the first call and used again until pyproject.toml changes.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2

.PHONY: demo test lint types notebooks scenarios bench clean

demo: .venv/installed
	$(BIN)/tamcl compare label_flip_digits --out out/demo --jobs $(JOBS)

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

notebooks: .venv/installed
	test -f out/demo/report.html || $(MAKE) demo
	$(BIN)/python -m pytest --nbmake analysis

scenarios: .venv/installed
	$(BIN)/python -m tamcl.catalogue > scenarios/README.md

bench: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s -q tests/benchmarks/test_training_overhead.py
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.bench_optimizers

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv out build dist
