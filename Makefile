# `make` alone says what there is. Everything it makes lies in .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# compat: with the import hook of newer setuptools Twisted does not find our plugin.
INSTALL := $(BIN)/python -m pip --quiet --disable-pip-version-check install \
	--config-settings editable_mode=compat --editable

# Programs that tests start, and Debian's package of each.
PROGRAMS := nginx:nginx-light caddy:caddy haproxy:haproxy promtool:prometheus \
	systemd-analyze:systemd openssl:openssl cc:build-essential redis-server:redis-server \
	chromium:chromium node:nodejs

# Without any settings there is no Discord to talk to: show the simulated one.
SETTINGS := $(wildcard .env)$(DISCORD_TOKEN)$(DISCORD_TOKEN_FILE)$(findstring --env-file,$(ARGS))
DEMO := $(if $(SETTINGS),,--demo)

.DEFAULT_GOAL := help
.PHONY: help run test packages soak bench demo-fleet pictures lint clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

run: $(VENV)/run.stamp ## run the server (ARGS="--listen tcp:8081"); without settings: the demo
	@exec $(BIN)/twistd --nodaemon --pidfile= voicestatus $(DEMO) $(ARGS)

test: packages lint ## all checks, then all tests, for two cores
	@$(BIN)/pytest -q -n 3 --dist loadfile --no-loadscope-reorder

packages:
	@missing=; for pair in $(PROGRAMS); do \
		PATH="$$PATH:/usr/sbin" command -v $${pair%%:*} >/dev/null \
			|| missing="$$missing $${pair#*:}"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; \
	elif [ -f /etc/debian_version ] && [ "$$(id -u)" = 0 ]; then \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
			apt-get -qq install -y --no-install-recommends $$missing >/dev/null; \
	else \
		echo "sudo apt-get install -y --no-install-recommends$$missing   # then again: make $(MAKECMDGOALS)" >&2; \
		exit 1; \
	fi

soak: $(VENV)/test.stamp ## the long forms of the tests: full counts of faults and attacks
	@$(BIN)/pytest -q --soak -s tests/stories/test_story_faults.py tests/stories/test_story_hostile.py tests/stories/test_story_nodes.py tests/stories/test_story_restart.py tests/core/test_rollout_machine.py

bench: $(VENV)/test.stamp ## measure against Node's ws and a C floor; writes docs/performance.md
	@$(BIN)/python -m benchmarks $(ARGS)

demo-fleet: $(VENV)/run.stamp ## 5,000 simulated signs get a good build, then a bad one that is stopped
	@$(BIN)/python -m benchmarks.demo_fleet $(ARGS)

pictures: packages $(VENV)/test.stamp ## take the pictures of docs/dashboard.md anew
	@$(BIN)/pytest -q tests/browser/pictures.py

lint: $(VENV)/test.stamp ## style, types, arrows between modules, purity
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/pytest -q tests/test_architecture.py

clean: ## remove what was made, .venv too; settings and data stay
	rm -rf $(VENV) build dist *.egg-info .hypothesis .*_cache
	find voicestatus twisted tests -name __pycache__ -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache

$(VENV)/run.stamp: setup.cfg pyproject.toml | $(BIN)/pip
	@echo "installing voicestatus into $(VENV)" >&2
	@$(INSTALL) .
	@touch $@

$(VENV)/test.stamp: setup.cfg pyproject.toml | $(BIN)/pip
	@echo "installing voicestatus and its tests' tools into $(VENV)" >&2
	@$(INSTALL) '.[test]'
	@touch $(VENV)/run.stamp $@

# pip comes last, so a .venv whose making was cut short is made again.
$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { \
		echo "$(PYTHON) is not installed" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "voicestatus needs Python 3.11 or newer, $(PYTHON) is older:" \
			"make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		if [ -f /etc/debian_version ] && [ "$$(id -u)" = 0 ]; then \
			apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
				apt-get -qq install -y python3-venv >/dev/null; \
		else \
			echo "sudo apt-get install -y python3-venv   # then again: make $(MAKECMDGOALS)" >&2; \
			exit 1; \
		fi; }
	@$(PYTHON) -m venv $(VENV)
