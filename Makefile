# The two commands that a newcomer needs are `make demo` and `make test`; each sets up what it needs.

.DEFAULT_GOAL := help
.PHONY: help demo test test-chaos chaos test-systemd check bench docs picture wheel pins audit-dependencies sbom \
	deb release install rollback uninstall clean

# Each recipe is one script, and ends at its first error.
.ONESHELL:
.SHELLFLAGS := -ec

# The first Python on the PATH that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
DIST := dist
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

# What is built has the date of the commit, or of the unpacked sdist: the same source, the same bytes.
EPOCH := $(or $(SOURCE_DATE_EPOCH),$(shell stat -c %Y PKG-INFO 2>/dev/null || \
	git log -1 --format=%ct 2>/dev/null),1580601600)
# The Debian package is for the Python of the Debian that builds it.
DEB_PYTHON := /usr/bin/python3

# SERVICE is a link to the environment in use; the one before it is kept beside it, for a rollback.
SERVICE := /opt/sweeper
ENVIRONMENTS := $(SERVICE).d
NEXT := $(ENVIRONMENTS)/$(VERSION)-$(shell date -u +%Y%m%dT%H%M%SZ)
SEARCH := $(addprefix tests/,stateful fuzz model mutants)
CHAOS := $(addprefix tests/,chaos reliability)
WORKERS := -n auto --maxprocesses 4 --dist worksteal
# Until it had a name of its own, the project was installed as `sweeper`.
forget_the_old_name = rm -rf $(1)/lib/python*/site-packages/sweeper-*.dist-info
UNITS := systemd/sweeper.service systemd/sweeper-sweep@.service

# Nothing without a known hash, and nothing that would have to be built with tools of unknown ones.
HASHED := install -q --disable-pip-version-check --root-user-action ignore --require-hashes \
	--only-binary :all:

# Build the wheel in $(1), with tools of its own in $(1)/tools, and write its hash beside it.
define build_wheel
rm -rf $(1)/tools $(1)/jastip_sweeper-*.whl
$(PYTHON) -m venv $(1)/tools
$(1)/tools/bin/python -m pip $(HASHED) -r requirements-build.txt
SOURCE_DATE_EPOCH=$(EPOCH) $(1)/tools/bin/python -m pip wheel -q --disable-pip-version-check \
	--no-deps --no-build-isolation -w $(1) .
( cd $(1) && sha256sum jastip_sweeper-*.whl > SHA256SUMS )
endef

# Make the environment $(2) with what the service needs and the wheel in $(1), and nothing else, for
# the Python $(3), or the usual one.
define make_environment
$(or $(3),$(PYTHON)) -m venv --without-pip $(2)
$(1)/tools/bin/python -m pip --python $(2)/bin/python $(HASHED) -r requirements.txt
sed 's|^\(.*\)  \(.*\)$$|$(1)/\2 --hash=sha256:\1|' $(1)/SHA256SUMS \
	| $(1)/tools/bin/python -m pip --python $(2)/bin/python $(HASHED) --no-deps -r /dev/stdin
$(1)/tools/bin/python -m pip --python $(2)/bin/python check --disable-pip-version-check
endef

# Write what the environment $(2) consists of into $(1), as CycloneDX.
define write_sbom
$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	--of JSON -o $(1)/jastip-sweeper-$(VERSION).cdx.json $(2)
endef

# Build the Debian package in $(1) from the environment $(2), and have lintian look at it.
define build_deb
NFPM=$(1)/tools/bin/nfpm SOURCE_DATE_EPOCH=$(EPOCH) systemd/deb/build $(2) $(1)
if command -v lintian > /dev/null; then lintian --fail-on error $(1)/*.deb; fi
endef

# Where shells and man look for what programs outside the distribution's packages bring.
SHARE := /usr/local/share
LEARNED := $(SHARE)/bash-completion/completions/sweeper $(SHARE)/zsh/site-functions/_sweeper \
	/etc/fish/completions/sweeper.fish $(SHARE)/man/man1/sweeper.1

# Tell shells and man of the version in use; one that is too old to know how is told nothing of.
define teach
umask 022
rm -f $(LEARNED)
learn() {
	install -d -m 0755 "$$(dirname "$$1")"
	$(SERVICE)/bin/sweeper $$2 > "$$1" 2> /dev/null && chmod 0644 "$$1" || rm -f "$$1"
}
learn $(word 1,$(LEARNED)) "completion bash"
learn $(word 2,$(LEARNED)) "completion zsh"
learn $(word 3,$(LEARNED)) "completion fish"
learn $(word 4,$(LEARNED)) manual
endef

# Put the complete environment $(1) in the place of the one in use, which becomes the previous one.
define switch_to
used=$$(readlink $(SERVICE) || true)
test -n "$$used" || test ! -e $(SERVICE) || mv $(SERVICE) $(ENVIRONMENTS)/unversioned
ln -sfn $(1) $(ENVIRONMENTS)/next
mv -T $(ENVIRONMENTS)/next $(SERVICE)
test -z "$$used" || ln -sfn "$$used" $(ENVIRONMENTS)/previous
install -m 0644 $(addprefix $(SERVICE)/share/sweeper/,$(UNITS)) /etc/systemd/system
ln -sfn $(SERVICE)/bin/sweeper /usr/local/bin/sweeper
$(teach)
systemctl daemon-reload
systemctl try-restart sweeper || {
	echo "it did not start: see journalctl -u sweeper; then sudo sweeper migrate, or sudo make rollback"
	exit 1
}
endef

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/ready ## The main job, told as a story on a database of its own
	@$(BIN)/sweeper demo $(ARGS)

test: $(VENV)/ready ## All tests, on an embedded Postgres; TESTS=path chooses some
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q $(WORKERS) $(TESTS)
	@$(BIN)/coverage combine -q
	@$(if $(TESTS),,$(BIN)/coverage report)

test-systemd: $(VENV)/ready ## The service in a container with a real systemd; needs root
	@$(BIN)/pytest -q tests/systemd $(ARGS)

test-chaos: $(VENV)/ready ## Kills, wedges, floods, the search for faults, a browser, the monitoring tools; minutes
	@$(BIN)/pytest -q $(WORKERS) $(SEARCH) $(ARGS)
	$(BIN)/pytest -q $(CHAOS) $(ARGS)

chaos: $(VENV)/ready ## The same at full length, with every mutant and an hour's soak; some hours
	@SWEEPER_TEST_LONG=1 $(BIN)/pytest -q $(SEARCH) $(ARGS)
	SWEEPER_TEST_LONG=1 $(BIN)/pytest -q $(CHAOS) $(ARGS)

check: $(VENV)/ready ## Lint, format, types, architecture
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pytest -q tests/unit/test_architecture.py

bench: $(VENV)/ready ## Speed beside a floor and other queues; ARGS=--quick, or --write for the page
	@$(MAKE) -s $(VENV)/peers || echo "some queues to compare with could not be installed" >&2
	$(BIN)/python -m tests.bench $(ARGS)

$(VENV)/peers: $(VENV)/ready
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[bench]'
	touch $@

docs: $(VENV)/ready ## Write the generated pages anew, and build the site from docs/, strictly
	@$(BIN)/python -m sweeper.cli.event_reference page > docs/events.md
	@$(BIN)/python -m sweeper.cli.event_reference schema > config/monitoring/events.schema.json
	$(BIN)/python -m tests.docs
	$(MAKE) -s $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	echo "the site is in site/: open file://$(CURDIR)/site/index.html"

$(VENV)/docs: $(VENV)/ready
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

picture: $(VENV)/ready ## Record the demo anew, for README
	@$(BIN)/python -m tests.pages.picture

wheel: ## Build the wheel, with pinned tools, and its SHA256SUMS
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later, with its venv module, is needed"; exit 1; }
	$(call build_wheel,$(DIST))
	rm -rf $(DIST)/tools
	cat $(DIST)/SHA256SUMS

pins: $(VENV)/supply ## Write the hashed pins anew, with the versions of constraints.txt
	@compile="$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
		--no-annotate -c constraints.txt"
	$$compile --custom-compile-command "make pins" -o requirements.txt pyproject.toml
	sed -n 's/^requires = \["\(.*\)"\]/\1/p' pyproject.toml \
		| $$compile --custom-compile-command "make pins" -o requirements-build.txt -
	sed -n 's/^release = \["\(.*\)"\]/\1/p' pyproject.toml | sed 's/", "/\n/g' \
		| $$compile --custom-compile-command "make pins" -o requirements-release.txt -

audit-dependencies: $(VENV)/supply ## Hold the pins against known advisories; error 69 if it cannot
	@mkdir -p $(DIST)
	.ci/audit-dependencies $(BIN)/pip-audit $(DIST)/audit.json

sbom: $(VENV)/supply ## List what the service consists of, as CycloneDX
	@$(call build_wheel,$(DIST))
	rm -rf $(DIST)/environment
	$(call make_environment,$(DIST),$(DIST)/environment)
	$(call write_sbom,$(DIST),$(DIST)/environment)
	rm -rf $(DIST)/environment $(DIST)/tools

deb: ## Build the Debian package, for the Debian and the Python of this machine
	@$(call build_wheel,$(DIST))
	$(DIST)/tools/bin/python -m pip $(HASHED) -r requirements-release.txt
	rm -rf $(DIST)/environment $(DIST)/*.deb
	$(call make_environment,$(DIST),$(DIST)/environment,$(DEB_PYTHON))
	$(call build_deb,$(DIST),$(DIST)/environment)
	rm -rf $(DIST)/environment $(DIST)/tools

release: $(VENV)/supply ## Build and check all that is published, into dist/, with its SHA256SUMS
	@rm -rf $(DIST)
	mkdir -p $(DIST)/again
	$(call build_wheel,$(DIST))
	$(DIST)/tools/bin/python -m pip $(HASHED) -r requirements-release.txt
	SOURCE_DATE_EPOCH=$(EPOCH) $(DIST)/tools/bin/hatchling build -t sdist -d $(DIST) > /dev/null
	tar xzf $(DIST)/*.tar.gz -C $(DIST)/again --strip-components 1
	( cd $(DIST)/again && SOURCE_DATE_EPOCH=$(EPOCH) $(abspath $(DIST))/tools/bin/hatchling build \
		-t wheel -d . > /dev/null )
	cmp $(DIST)/*.whl $(DIST)/again/*.whl # the sdist is enough to build from
	$(DIST)/tools/bin/twine check --strict $(DIST)/*.whl $(DIST)/*.tar.gz
	$(DIST)/tools/bin/check-wheel-contents $(DIST)/*.whl
	$(call make_environment,$(DIST),$(DIST)/environment,$(DEB_PYTHON))
	$(call write_sbom,$(DIST),$(DIST)/environment)
	$(call build_deb,$(DIST),$(DIST)/environment)
	rm -rf $(DIST)/again $(DIST)/environment $(DIST)/tools
	rm $(DIST)/SHA256SUMS
	( cd $(DIST) && sha256sum jastip* > SHA256SUMS )
	cat $(DIST)/SHA256SUMS

install: ## Install the service, or upgrade it; needs root, docs/how-to/install.md goes on
	@test "$$(id -u)" = 0 || { echo "run it as root: sudo make install"; exit 1; }
	test -n "$(PYTHON)" || { echo "Python 3.11 or later, with its venv module, is needed"; exit 1; }
	! dpkg-query -W -f '$${db:Status-Status}' jastip-sweeper 2>/dev/null | grep -qx installed \
		|| { echo "it is installed as a Debian package: apt remove jastip-sweeper first"; exit 1; }
	umask 022
	tidy() {
		for one in $(ENVIRONMENTS)/*; do
			case "$$one" in
				"$$(readlink $(SERVICE))" | "$$(readlink $(ENVIRONMENTS)/previous)") ;;
				$(ENVIRONMENTS)/previous) ;;
				*) rm -rf "$$one" ;;
			esac
		done
	}
	trap tidy EXIT
	mkdir -p $(ENVIRONMENTS)/build
	$(call build_wheel,$(ENVIRONMENTS)/build)
	$(call make_environment,$(ENVIRONMENTS)/build,$(NEXT))
	$(NEXT)/bin/sweeper --help > /dev/null
	install -d -m 0755 /etc/sweeper
	install -d -m 0700 /etc/sweeper/credentials
	test -e /etc/sweeper/sweeper.toml || install -m 0644 config/sweeper.toml /etc/sweeper
	$(call switch_to,$(NEXT))
	echo "sweeper is installed; go on with docs/how-to/install.md"

rollback: ## Go back to the version before the last upgrade; again, and it is undone
	@test "$$(id -u)" = 0 || { echo "run it as root: sudo make rollback"; exit 1; }
	before=$$(readlink $(ENVIRONMENTS)/previous) || { echo "no version before is kept"; exit 1; }
	$(call switch_to,"$$before")
	echo "sweeper is now $${before##*/}"

uninstall: ## Remove the service; /etc/sweeper and the database stay
	@test "$$(id -u)" = 0 || { echo "run it as root: sudo make uninstall"; exit 1; }
	@systemctl disable -q --now sweeper 2>/dev/null || true
	@rm -rf $(SERVICE) $(ENVIRONMENTS) /usr/local/bin/sweeper $(UNITS:systemd/%=/etc/systemd/system/%) \
		$(LEARNED)
	@systemctl daemon-reload
	@echo "sweeper is removed; its settings stay in /etc/sweeper, its books in the database"

clean: ## Remove the environment and every cache
	rm -rf $(VENV) site .coverage* .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The tools of `make pins`, `make audit-dependencies` and `make sbom`.
$(VENV)/supply: $(VENV)/ready
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[supply]'
	touch $@

$(VENV)/ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later, with its venv module, is needed"; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
	@$(call forget_the_old_name,$(VENV))
	@$(BIN)/python -m pip install -q --disable-pip-version-check \
		-c constraints.txt -e '.[embedded,dev]'
	@touch $@
