# The two commands that a newcomer needs are `make demo` and `make test`; each sets up what it needs.

.DEFAULT_GOAL := help
.PHONY: help demo test test-chaos test-systemd check bench docs install uninstall clean

# The first Python on the PATH that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
SERVICE := /opt/sweeper
WORKERS := -n auto --maxprocesses 4 --dist worksteal
# Until it had a name of its own, the project was installed as `sweeper`.
forget_the_old_name = rm -rf $(1)/lib/python*/site-packages/sweeper-*.dist-info
UNITS := systemd/sweeper.service systemd/sweeper-sweep@.service

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/ready ## The main job, told as a story on a database of its own
	@$(BIN)/sweeper demo $(ARGS)

test: $(VENV)/ready ## All tests, on an embedded Postgres; TESTS=path chooses some
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q $(WORKERS) $(TESTS)
	@$(BIN)/coverage combine -q
	@$(if $(TESTS),,$(BIN)/coverage report)

test-systemd: $(VENV)/ready ## The service in a container with a real systemd; needs root
	@$(BIN)/pytest -q tests/systemd $(ARGS)

test-chaos: $(VENV)/ready ## Kills, wedges, floods, a browser and the real monitoring tools; minutes
	@$(BIN)/pytest -q tests/chaos $(ARGS)

check: $(VENV)/ready ## Lint, format, types, architecture
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pytest -q tests/unit/test_architecture.py

bench: $(VENV)/ready ## Speed, as ratios measured side by side in one run
	@$(BIN)/python -m tests.bench $(ARGS)

docs: $(VENV)/ready ## Write the generated pages anew
	@$(BIN)/python -m sweeper.cli.event_reference page > docs/events.md
	@$(BIN)/python -m sweeper.cli.event_reference schema > config/monitoring/events.schema.json

install: ## Install the service, or upgrade it; needs root, systemd/README.md goes on
	@test "$$(id -u)" = 0 || { echo "run it as root: sudo make install"; exit 1; }
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later, with its venv module, is needed"; exit 1; }
	@$(PYTHON) -m venv $(SERVICE)
	@$(call forget_the_old_name,$(SERVICE))
	@$(SERVICE)/bin/python -m pip install -q --disable-pip-version-check \
		--root-user-action ignore -c constraints.txt .
	@install -d /etc/sweeper && install -d -m 0700 /etc/sweeper/credentials
	@test -e /etc/sweeper/sweeper.toml || install -m 0644 config/sweeper.toml /etc/sweeper
	@install -m 0644 $(UNITS) /etc/systemd/system
	@ln -sf $(SERVICE)/bin/sweeper /usr/local/bin/sweeper
	@systemctl daemon-reload
	@systemctl try-restart sweeper
	@echo "sweeper is installed; go on with systemd/README.md"

uninstall: ## Remove the service; /etc/sweeper and the database stay
	@test "$$(id -u)" = 0 || { echo "run it as root: sudo make uninstall"; exit 1; }
	@systemctl disable -q --now sweeper 2>/dev/null || true
	@rm -rf $(SERVICE) /usr/local/bin/sweeper $(UNITS:systemd/%=/etc/systemd/system/%)
	@systemctl daemon-reload
	@echo "sweeper is removed; its settings stay in /etc/sweeper, its books in the database"

clean: ## Remove the environment and every cache
	rm -rf $(VENV) .coverage* .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later, with its venv module, is needed"; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
	@$(call forget_the_old_name,$(VENV))
	@$(BIN)/python -m pip install -q --disable-pip-version-check \
		-c constraints.txt -e '.[embedded,dev]'
	@touch $@
