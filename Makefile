# Everything runs in an environment of the project's own; nothing is installed elsewhere.
PYTHON ?= python3
# Those that make check tries the distributions on.
PYTHONS ?= 3.10 3.13
# Those that a release is installed on.
RELEASED_ON ?= 3.10 3.11 3.12 3.13
VENV   ?= .venv
BIN    := $(VENV)/bin
SAMPLE ?= 01_getting_started
# How many processes share the tests, of which some always wait; and when all began.
WORKERS ?= 3
# How often make chaos kills.
KILLS ?= 500
POSTGRES_KILLS ?= 200
# The extras that the lock pins: pipecat wants an older protobuf than telemetry, and has an environment of its own.
LOCKED := telemetry azure-monitor hosted cli postgres agent-framework langgraph openai-agents pydantic-ai
STARTED := $(shell date +%s)
# Where it is set, every process reads the tests and the package anew.
unexport PYTHONDONTWRITEBYTECODE
PEER   := parity/.venv
SCHEMATHESIS := build/schemathesis
# What the tests of the inspector's page need beside Python; nothing of it is in the distribution.
NPM    := mkdir -p build && npm install --silent --no-audit --no-fund --prefix build
# Frameworks are heavy: an environment of their own, and the samples that are built on them.
FRAMEWORKS := build/frameworks
VOICE := build/voice
WITH_VOICE := 12_voice_pipecat 13_voice_webrtc
WITH_FRAMEWORK := 14_agent_framework 15_langgraph 16_openai_agents 17_pydantic_ai

.PHONY: run wheel test test-parallel coverage test-long test-one test-templates lint style types page-types \
	bench bench-quick bench-rates bench-growth durable-bench check release lock hardening parity migration \
	autobahn aiohttp-suite schemathesis documents chaos postgres-test fuzz compat \
	inspector-test inspector-pictures frameworks-test voice-test docs docs-serve docs-check pictures clean

# What a sample needs beside the distribution stands in a file of its own.
run: $(VENV)/.run $(if $(wildcard samples/$(SAMPLE)/requirements.txt),$(VENV)/.run-$(SAMPLE))  ## set up and start a sample on port 8088: make run SAMPLE=03_streaming
	$(if $(wildcard samples/$(SAMPLE)/main.py),,$(error there is no sample $(SAMPLE): choose one of $(sort $(notdir $(wildcard samples/[0-9]*)))))
	$(BIN)/python samples/$(SAMPLE)/main.py

wheel: | $(VENV)/bin/python  ## build what to install, until PyPI has it, into dist/
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist/*.whl

test: lint  ## set up and run lint, types and the tests; says how long it took
	+$(MAKE) --no-print-directory -j 2 types test-parallel
	$(BIN)/python -m pytest -m 'alone and not browser and not long' $(ARGS) || [ $$? -eq 5 ]
	@echo "make $@ took $$(( $$(date +%s) - $(STARTED) )) s"

# What .ci/run gives make test as MEASURE, so that no change passes it below the bound.
COVERAGE := --cov --cov-report=term
# What runs in parallel: not what measures, nor what has a target of its own.
PARALLEL := not alone and not browser and not long and not postgres

# The type checkers use one core for a minute; meanwhile the tests wait for processes now and then.
test-parallel: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m '$(PARALLEL)' $(MEASURE) $(ARGS)

coverage: MEASURE := $(COVERAGE)
coverage: export COLD := 1
coverage: test-parallel  ## some minutes: the same tests, measured through all processes they start, each anew; below 95 % it fails

test-long: $(VENV)/.test  ## some minutes: the tests that make test has only a short form of
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m 'long and not alone and not browser and not postgres' $(ARGS)

inspector-test: $(VENV)/.test  ## some minutes: the inspector's page in a real Chromium, which the system must have; axe-core needs npm
	$(if $(shell command -v npm),$(NPM) axe-core@4.14.1)
	$(BIN)/python -m pytest --timeout 900 tests/inspector tests/inspector/check_installed.py \
		tests/inspector/check_limits.py $(ARGS)

inspector-pictures: $(VENV)/.test  ## the pictures of docs/inspector.md, anew
	$(BIN)/python -m pytest tests/inspector/check_pictures.py $(ARGS)

frameworks-test: $(FRAMEWORKS)/.made  ## some minutes: types and tests of the adapters, with the frameworks as the lock pins them
	$(FRAMEWORKS)/bin/mypy $(filter-out agentserver/integrations/pipecat/%,$(wildcard agentserver/integrations/*.py agentserver/integrations/*/*.py)) tests/frameworks/*.py
	for sample in $(WITH_FRAMEWORK); do $(FRAMEWORKS)/bin/mypy samples/$$sample || exit 1; done
	$(FRAMEWORKS)/bin/pyright --project tests/frameworks/pyright.json --pythonpath $(FRAMEWORKS)/bin/python
	$(FRAMEWORKS)/bin/python -m pytest -n $(WORKERS) --dist loadfile tests/frameworks tests/test_borders.py $(ARGS)

voice-test: $(VOICE)/.made  ## a minute, and espeak-ng: types and tests of voice, with Pipecat
	$(VOICE)/bin/mypy --python-version 3.11 --allow-untyped-calls agentserver/integrations/pipecat/*.py tests/voice/*.py benchmarks/voice*.py
	$(VOICE)/bin/mypy --python-version 3.11 --allow-untyped-calls samples/12_voice_pipecat
	MYPYPATH=samples/12_voice_pipecat $(VOICE)/bin/mypy --python-version 3.11 --allow-untyped-calls samples/13_voice_webrtc
	$(VOICE)/bin/pyright --project tests/voice/pyright.json --pythonpath $(VOICE)/bin/python
	$(VOICE)/bin/python -m pytest -W "ignore:'audioop' is deprecated:DeprecationWarning" tests/voice $(ARGS)

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
	$(BIN)/mypy && for sample in $(filter-out $(WITH_VOICE) $(WITH_FRAMEWORK),$(notdir $(wildcard samples/[0-9]*))); do $(BIN)/mypy samples/$$sample || exit 1; done
	$(BIN)/pyright --pythonpath $(BIN)/python

page-types: build/node_modules/.typescript  ## the types of the inspector's page; needs npm
	build/node_modules/.bin/tsc --noEmit --allowJs --checkJs --strict --target es2022 --module es2022 \
		--moduleResolution bundler --lib es2023,dom,dom.iterable agentserver/inspector/page/app.js

bench:  ## some minutes: ours beside its peers on two quiet cores, into docs/performance.md
	$(PYTHON) -m benchmarks --page

bench-quick:  ## a minute: ours beside plain aiohttp
	$(PYTHON) -m benchmarks --quick

bench-rates:  ## a quarter of an hour: 1, 10 and 50 streams a second on a quarter of a core, beside the peers, into docs/performance.md
	$(PYTHON) -m benchmarks.rates --page

bench-growth:  ## four minutes: 1 to 5,000 connections and 1 to 100,000 sessions, into docs/performance.md
	$(PYTHON) -m benchmarks.growth --page

check: test coverage test-long $(VENV)/.supply  ## all that a release must pass: tests, known vulnerabilities, both distributions
	$(BIN)/python -m hardening.audit
	$(BIN)/python -m hardening.distributions $(PYTHONS)

release: $(VENV)/.supply  ## build both distributions into dist/ and check them; refuses what is not whole. ARGS=--rehearsal goes on
	$(BIN)/python -m hardening.release $(RELEASED_ON) $(ARGS)

lock: $(VENV)/.supply  ## pin anew what the tests run with
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.10 --no-annotate --no-header \
		$(foreach extra,$(LOCKED),--extra $(extra)) --group test --group lint --group docs pyproject.toml --output-file requirements.lock

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

schemathesis: $(SCHEMATHESIS)/.made  ## some minutes: what the documents of two samples allow and forbid, asked 2,000 times; CASES= SEED=
	$(SCHEMATHESIS)/bin/python -m compliance.schemathesis --cases $(or $(CASES),2000) $(if $(SEED),--seed $(SEED))

documents: $(VENV)/.test build/documents/.made  ## two minutes: the documents of 25 contracts, read by other people's tools; needs npm
	$(BIN)/python -m compliance.documents build/documents

chaos: $(VENV)/.test  ## some minutes: kill -9 of a durable agent at random moments, KILLS=500 times on SQLite and 200 on PostgreSQL; SEED= repeats
	$(BIN)/python -m tests.durable.chaos --kills $(KILLS) $(if $(SEED),--seed $(SEED)) $(ARGS)
	$(BIN)/python -m tests.durable.chaos --store postgres --kills $(POSTGRES_KILLS) $(if $(SEED),--seed $(SEED)) $(ARGS)

postgres-test: $(VENV)/.test  ## minutes: all that concerns durable runs on PostgreSQL, the long ones too; the server is found or PyPI's
	$(BIN)/python -m pytest tests/durable -k 'postgres or replica or database' $(ARGS)

durable-bench: $(VENV)/.test  ## minutes: what a durable step costs, on SQLite or STORE=postgres, beside a bare fsync
	$(BIN)/python -m benchmarks.durable --store $(or $(STORE),sqlite)

fuzz: $(VENV)/.test  ## some minutes: the same bytes to our server and to somebody else's, and clients that leave; SEED= repeats
	$(BIN)/python -m fuzzing $(if $(SEED),--seed $(SEED)) $(ARGS)

compat: $(VENV)/.test  ## half an hour: the tests on the lowest and the newest aiohttp and OpenTelemetry, pre-releases too; the newest frameworks and Pipecat
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

build/node_modules/.typescript: Makefile
	$(NPM) typescript@5.9.3
	@touch $@

$(SCHEMATHESIS)/.made: pyproject.toml
	$(PYTHON) -m venv $(SCHEMATHESIS)
	$(SCHEMATHESIS)/bin/python -m pip install --quiet --disable-pip-version-check --editable . 'schemathesis>=4.32,<5'
	@touch $@

build/documents/.made: Makefile
	mkdir -p build/documents
	npm install --silent --no-audit --no-fund --prefix build/documents \
		@redocly/cli@2.77.0 @asyncapi/parser@3.6.3 @asyncapi/specs@6.11.1
	@touch $@

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
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[telemetry,cli,postgres]' --group test --group lint --group docs \
		--constraint requirements.lock
	@touch $@ $(VENV)/.run $(VENV)/.docs

$(VENV)/.docs: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[telemetry,cli]' --group docs \
		--constraint requirements.lock
	@touch $@ $(VENV)/.run

$(VENV)/.docs-check: $(VENV)/.docs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group docs-check
	@touch $@

$(FRAMEWORKS)/.made: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(FRAMEWORKS)/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[telemetry,cli,agent-framework,langgraph,openai-agents,pydantic-ai]' --group test --group lint \
		--constraint requirements.lock
	@touch $@

# Pipecat wants an older protobuf than the lock has.
$(VOICE)/.made: pyproject.toml requirements.lock tests/voice/requirements.txt
	$(PYTHON) -m venv $(VOICE)
	$(VOICE)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	grep -v '^protobuf==' requirements.lock > $(VOICE)/constraints.txt
	$(VOICE)/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[telemetry,cli,pipecat]' --group test --group lint --requirement tests/voice/requirements.txt \
		--constraint $(VOICE)/constraints.txt
	@touch $@

$(VENV)/.compliance: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group compliance
	@touch $@

$(VENV)/.supply: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group hardening
	@touch $@
