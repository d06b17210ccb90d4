# make demo    the whole way on this machine, nothing to download but packages
# make test    the tests
# make check   format, lint, types, import rules: what CI runs before the tests
# make setup   .venv with everything for the three above
#
# Each makes .venv and installs what it needs; the second time that costs nothing.

BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test check format setup clean

help:
	@sed -n 's/^# make /  make /p' Makefile

demo: .venv/.setup-run
	$(BIN)/edgeyolo demo

test: .venv/.setup-test
	$(BIN)/python -m pytest -q $(PYTEST)

check: .venv/.setup-check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_import_hygiene.py tests/test_readme.py

format: .venv/.setup-check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: .venv/.setup-check

.venv/.setup-%: pyproject.toml tools/setup.sh
	@tools/setup.sh $*
	@touch $@

clean:
	rm -rf .venv .venv-bootstrap .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info build dist
