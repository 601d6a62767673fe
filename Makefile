# Everything runs in .venv, which the first target that needs it sets up.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint types imports docs dist bench clean

help:
	@echo "make demo    the main job on real data: how many filters of a small ResNet can go?"
	@echo "make test    the tests"
	@echo "make check   the tests, formatting, lint, types and the layers of imports"
	@echo "make docs    the documentation, as a site in build/docs"
	@echo "make dist    sdist and wheel in dist/, checked, and tried in an environment of their own"
	@echo "make bench   the measurements that the documentation quotes"

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'accaware needs Python 3.11')"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: setup
	$(BIN)/accaware run configs/digits_filter_pruning.json

# Every process imports torch, so there are few. Each takes one module after another, with what its
# tests share, in the order of tests/conftest.py: those that take longest are the first.
test: setup
	@command -v chromium > /dev/null || \
		echo "no chromium here: the report's page is not tested in a browser"
	@command -v zsh > /dev/null || echo "no zsh here: the tab key is tested in bash alone"
	$(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

check: lint types imports test

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

imports: setup
	$(BIN)/lint-imports

# A dead link, a missing anchor or name, or a page that asks another server for something is an error.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml

dist: setup
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/python scripts/try_wheel.py dist/*.whl

bench: setup
	for script in scripts/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
