# The two commands that a newcomer needs are `make demo` and `make test`; each sets up what it needs.

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs clean

# The first Python on the PATH that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/ready ## The main job, told as a story on a database of its own
	@$(BIN)/sweeper demo $(ARGS)

test: $(VENV)/ready ## All tests, on an embedded Postgres; TESTS=path chooses some
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q $(TESTS)
	@$(BIN)/coverage combine -q
	@$(if $(TESTS),,$(BIN)/coverage report)

check: $(VENV)/ready ## Lint, format, types, architecture
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pytest -q tests/unit/test_architecture.py

bench: $(VENV)/ready ## Speed, as ratios measured side by side in one run
	@$(BIN)/python -m tests.bench $(ARGS)

docs: $(VENV)/ready ## Write the generated pages anew
	@$(BIN)/python -m sweeper.events > docs/events.md

clean: ## Remove the environment and every cache
	rm -rf $(VENV) .coverage* .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later, with its venv module, is needed"; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check \
		-c constraints.txt -e '.[embedded,dev]'
	@touch $@
