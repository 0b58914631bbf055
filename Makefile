# make run   install into .venv, start Comet on its defaults, and feed its demos with this machine's figures
# make test  install what the tests need and run the whole gate
# make docs  build the documentation into docs/_build
# make browser rebuild the browser client in comet/static, and test it (the only thing that needs Node)
# make browsers try the pages in Firefox and WebKit, too (the gate has Chromium)
# make crash kill the daemon five hundred times, and see that nothing is lost (the gate does it some fifty times)
# make fuzz  look for input that does harm, for an hour or two (the gate does for a minute; see tests/fuzz/README.rst)
# make soak  an hour's worth of comings and goings, and more, against one daemon, for ten minutes (the gate: half of one)
# make bench measure the daemon beside its peers (half an hour; for less see bench/README.rst)

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DOCS := docs/_build
NODE := browser/node_modules/.package-lock.json

.DELETE_ON_ERROR:
.PHONY: run test lint types unit docs browser browsers crash fuzz soak bench tools clean

# What feeds the demos ends when the daemon has ended, however that was.
run: $(VENV)/run.stamp
	@$(BIN)/comet demo & feeder=$$!; trap 'kill $$feeder' EXIT; trap : INT TERM; $(BIN)/twistd -n --pidfile= comet

test: lint types unit docs

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/test.stamp
	$(BIN)/mypy

# Real browsers, proxies and daemons on a busy machine are late now and then. What fails is told, and tried once more by
# itself; what fails again has failed.
unit: $(VENV)/test.stamp $(NODE) tools
	$(BIN)/pytest -q || $(BIN)/pytest -q --last-failed --last-failed-no-failures none

docs: $(VENV)/test.stamp
	$(BIN)/sphinx-build -W -q -b html docs $(DOCS)

browser: $(NODE)
	cd browser && npm run --silent types && npm run --silent build && npm test --silent

# npm writes this file when all is in place.
$(NODE): browser/package-lock.json
	@command -v npm >/dev/null || .ci/apt npm
	cd browser && npm ci
	@touch $@

# Debian's python3 comes without ensurepip unless python3-venv is installed.
$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Comet needs Python 3.11 or newer; name one with: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || .ci/apt python3-venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: setup.cfg pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install -q -e .
	@touch $@

$(VENV)/test.stamp: setup.cfg pyproject.toml | $(VENV)/bin/pip
	$(BIN)/pip install -q -e '.[test]'
	@touch $@ $(VENV)/run.stamp

crash: $(VENV)/test.stamp
	CRASH_KILLS=$${CRASH_KILLS:-500} $(BIN)/pytest -q -s tests/crash/test_crash.py

fuzz: $(VENV)/test.stamp
	HYPOTHESIS_PROFILE=search FUZZ_TIMES=$${FUZZ_TIMES:-100} $(BIN)/pytest -q -s tests/fuzz -k whatever_is_sent $(FUZZ)

soak: $(VENV)/test.stamp
	SOAK_SECONDS=$${SOAK_SECONDS:-600} $(BIN)/pytest -q -s tests/soak

bench: $(VENV)/run.stamp
	$(BIN)/python -m bench

# What the tests drive from outside, and Debian's packages with it. Where something is missing and cannot be installed, its
# tests fail and say so.
TOOLS := redis-cli:redis-tools nc:netcat-openbsd curl:curl sqlite3:sqlite3 vmstat:procps tmux:tmux cc:build-essential \
  chromium:chromium npm:npm systemd-analyze:systemd promtool:prometheus \
  nginx:nginx haproxy:haproxy apache2:apache2-bin varnishd:varnish squid:squid slowhttptest:slowhttptest

tools:
	@PATH="$$PATH:/usr/sbin"; for tool in $(TOOLS); do \
	  command -v $${tool%:*} >/dev/null || .ci/apt $${tool#*:} || :; \
	done

# What is tried beside Chromium, and Debian's packages with it.
BROWSERS := firefox-esr:firefox-esr WebKitWebDriver:webkit2gtk-driver Xvfb:xvfb
BINDINGS := import gi; gi.require_version("WebKit2", "4.1")

browsers: $(VENV)/test.stamp $(NODE)
	@for tool in $(BROWSERS); do command -v $${tool%:*} >/dev/null || .ci/apt $${tool#*:} || :; done
	@/usr/bin/python3 -c '$(BINDINGS)' 2>/dev/null || { .ci/apt python3-gi && .ci/apt gir1.2-webkit2-4.1; } || :
	$(BIN)/pip install -q -e '.[browsers]'
	$(BIN)/pytest -q -rx tests/browsers --browser firefox --browser webkit

clean:
	rm -rf $(VENV) $(DOCS) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
