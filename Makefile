# Everything runs in an environment of the project's own; nothing is installed elsewhere.
PYTHON ?= python3
# Those that make check tries the distributions on.
PYTHONS ?= 3.10 3.13
# Those that a release is installed on.
RELEASED_ON ?= 3.10 3.11 3.12 3.13
VENV   ?= .venv
BIN    := $(VENV)/bin
SAMPLE ?= 01_getting_started
# How many processes share the tests, and when all began.
WORKERS ?= 2
# How often make chaos kills.
KILLS ?= 500
STARTED := $(shell date +%s)
PEER   := parity/.venv

.PHONY: run wheel test test-one test-templates lint style types page-types bench bench-quick check release lock hardening parity migration \
	autobahn aiohttp-suite chaos fuzz compat inspector-test docs docs-serve docs-check pictures clean

# What a sample needs beside the distribution stands in a file of its own.
run: $(VENV)/.run $(if $(wildcard samples/$(SAMPLE)/requirements.txt),$(VENV)/.run-$(SAMPLE))  ## set up and start a sample on port 8088: make run SAMPLE=03_streaming
	$(if $(wildcard samples/$(SAMPLE)/main.py),,$(error there is no sample $(SAMPLE): choose one of $(sort $(notdir $(wildcard samples/*)))))
	$(BIN)/python samples/$(SAMPLE)/main.py

wheel: | $(VENV)/bin/python  ## build what to install, until PyPI has it, into dist/
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist/*.whl

test: lint types  ## set up and run lint, types and every test; says how long it took
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m 'not alone and not browser' --cov --cov-report=term $(ARGS)
	$(BIN)/python -m pytest -m 'alone and not browser' $(ARGS) || [ $$? -eq 5 ]
	@echo "make $@ took $$(( $$(date +%s) - $(STARTED) )) s"

inspector-test: $(VENV)/.test  ## a minute: the inspector's page in a real Chromium, which the system must have
	$(BIN)/python -m pytest tests/inspector $(ARGS)

test-one: $(VENV)/.test  ## one test file: make test-one FILE=tests/http/test_errors.py
	$(BIN)/python -m pytest $(FILE) $(ARGS)

test-templates: $(VENV)/.test  ## some minutes: what 'agentserver new' makes, with nothing but our wheel and PyPI
	$(BIN)/python -m pytest --timeout 900 tests/templates/check_templates.py $(ARGS)

style: $(VENV)/.test  ## format and mend what a tool can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.test  ## rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test  ## mypy and pyright, both strict
	$(BIN)/mypy && for sample in samples/*/; do $(BIN)/mypy $$sample || exit 1; done
	$(BIN)/pyright --pythonpath $(BIN)/python

page-types:  ## the types of the inspector's page; needs npm
	mkdir -p build
	npm install --silent --no-audit --no-fund --prefix build typescript@5
	build/node_modules/.bin/tsc --noEmit --allowJs --checkJs --strict --target es2022 --module es2022 \
		--moduleResolution bundler --lib es2023,dom,dom.iterable agentserver/inspector/page/app.js

bench:  ## some minutes: ours beside its peers on two quiet cores, into docs/performance.md
	$(PYTHON) -m benchmarks --page

bench-quick:  ## a minute: ours beside plain aiohttp
	$(PYTHON) -m benchmarks --quick

check: test $(VENV)/.supply  ## all that a release must pass: tests, known vulnerabilities, both distributions
	$(BIN)/python -m hardening.audit
	$(BIN)/python -m hardening.distributions $(PYTHONS)

release: $(VENV)/.supply  ## build both distributions into dist/ and check them; refuses what is not whole. ARGS=--rehearsal goes on
	$(BIN)/python -m hardening.release $(RELEASED_ON) $(ARGS)

lock: $(VENV)/.supply  ## pin anew what the tests run with
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.10 --no-annotate --no-header \
		--all-extras --group test --group lint --group docs pyproject.toml --output-file requirements.lock

hardening: $(VENV)/.supply  ## some minutes: hostile clients, faults and fuzzers, beyond what make test does
	$(BIN)/python -m pytest hardening $(ARGS)

parity: $(VENV)/.test $(PEER)/.made  ## some minutes: judge the official Python package live, then write docs/parity.md
	mkdir -p build
	-$(BIN)/python -m agentserver.conformance --command '$(PEER)/bin/python parity/python/reference_agent.py' \
		--label 'azure-ai-agentserver-invocations 1.2.0' --html build/parity-python.html \
		--about 'The package as released on PyPI, with azure-ai-agentserver-core 2.2.0 on Hypercorn 0.18, recorded by make parity.' \
		--record parity/recordings/python-1.2.0.json
	$(BIN)/python -m agentserver.conformance --command '$(BIN)/python -m agentserver.conformance.reference_agent' \
		--record build/parity-ours.json
	$(BIN)/python -m parity.page build/parity-ours.json parity docs/parity.md

migration: $(VENV)/.test $(PEER)/.made  ## half a minute: the agents of docs/migrate-python.md, before on the official package and after
	$(BIN)/python -m pytest tests/documentation/test_migration.py $(ARGS)

autobahn: $(VENV)/.test  ## half an hour and more: the echo sample before the Autobahn|Testsuite; needs a Python 2.7
	$(BIN)/python -m compliance.autobahn --page

aiohttp-suite: $(VENV)/.compliance  ## some minutes: aiohttp's own functional tests on our server and on aiohttp's
	$(BIN)/python -m compliance.aiohttp $(ARGS)

chaos: $(VENV)/.test  ## some minutes: kill -9 of a durable agent at random moments, KILLS=500 times; SEED= repeats the chance
	$(BIN)/python -m tests.durable.chaos --kills $(KILLS) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: $(VENV)/.test  ## some minutes: the same bytes to our server and to somebody else's, and clients that leave; SEED= repeats
	$(BIN)/python -m fuzzing $(if $(SEED),--seed $(SEED)) $(ARGS)

compat: $(VENV)/.test  ## half an hour: the tests on the lowest and the newest aiohttp and OpenTelemetry, pre-releases too
	$(BIN)/python -m compliance.compat $(ARGS)

docs: $(VENV)/.docs  ## the documentation as a site, into build/site; a warning is an error
	rm -rf build/site
	$(BIN)/sphinx-build --fail-on-warning --keep-going --fresh-env --quiet --conf-dir docs --doctree-dir build/doctrees . build/site
	@echo "the site is build/site/index.html"

docs-serve: docs  ## the same at http://localhost:8000; PORT= for another port
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site $(or $(PORT),8000)

pictures: $(VENV)/.test  ## the pictures that tests make, drawn anew into docs/pictures
	WRITE_PICTURES=1 $(BIN)/python -m pytest tests/cli/test_documents.py -k picture $(ARGS)

docs-check: docs $(VENV)/.docs-check  ## some minutes: every page in headless Chromium (the system's): links, requests, axe
	$(BIN)/python -m documentation.check build/site

clean:
	rm -rf $(VENV) $(PEER) benchmarks/.venv .mypy_cache .pytest_cache .ruff_cache .coverage dist build

$(PEER)/.made: parity/python/requirements.txt
	$(PYTHON) -m venv $(PEER)
	$(PEER)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.run-%: samples/%/requirements.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(VENV)/.test: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[telemetry,cli]' --group test --group lint --group docs \
		--constraint requirements.lock
	@touch $@ $(VENV)/.run $(VENV)/.docs

$(VENV)/.docs: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[telemetry,cli]' --group docs \
		--constraint requirements.lock
	@touch $@ $(VENV)/.run

$(VENV)/.docs-check: $(VENV)/.docs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group docs-check
	@touch $@

$(VENV)/.compliance: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group compliance
	@touch $@

$(VENV)/.supply: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group hardening
	@touch $@
