# make demo    the whole way on this machine, nothing to download but packages
# make test    the tests
# make check   format, lint, types, import rules: what CI runs before the tests
# make sim     the simulated CUDA driver in .sim: the GPU's tests skip without it; make test tries to make it
# make setup   .venv with everything for the others
#
# Each makes .venv and installs what it needs; the second time that costs nothing.

BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo test check format sim setup clean

help:
	@sed -n 's/^# make /  make /p' Makefile

demo: .venv/.setup-run
	$(BIN)/edgeyolo demo

# A machine without g++ or Python.h tests all but the GPU's path, and says so.
test: .venv/.setup-test
	-@$(BIN)/python -m tests.sim.cuda.build
	$(BIN)/python -m pytest -q $(PYTEST)

sim: .venv/.setup-test
	$(BIN)/python -m tests.sim.cuda.build

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

clean:
	rm -rf .venv .venv-bootstrap .sim .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info build dist
