# Everything runs in an environment of the project's own; nothing is installed elsewhere.
PYTHON ?= python3
# Those that make check tries the distributions on.
PYTHONS ?= 3.10 3.13
VENV   ?= .venv
BIN    := $(VENV)/bin
SAMPLE ?= 01_getting_started

.PHONY: run test test-templates style types bench bench-quick check lock hardening clean

run: $(VENV)/.run  ## set up and start the getting-started sample on port 8088, or make run SAMPLE=03_streaming
	$(BIN)/python samples/$(SAMPLE)/main.py

test: $(VENV)/.test  ## set up and run lint, types and every test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy && for sample in samples/*/; do $(BIN)/mypy $$sample || exit 1; done
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

test-templates: $(VENV)/.test  ## some minutes: what 'agentserver new' makes, with nothing but our wheel and PyPI
	$(BIN)/python -m pytest --timeout 900 tests/templates/check_templates.py $(ARGS)

style: $(VENV)/.test  ## format and mend what a tool can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/.test
	$(BIN)/mypy && for sample in samples/*/; do $(BIN)/mypy $$sample || exit 1; done
	$(BIN)/pyright --pythonpath $(BIN)/python

bench:  ## some minutes: ours beside its peers on two quiet cores, into docs/performance.md
	$(PYTHON) -m benchmarks --page

bench-quick:  ## a minute: ours beside plain aiohttp
	$(PYTHON) -m benchmarks --quick

check: test $(VENV)/.supply  ## all that a release must pass: tests, known vulnerabilities, both distributions
	$(BIN)/python -m hardening.audit
	$(BIN)/python -m hardening.distributions $(PYTHONS)

lock: $(VENV)/.supply  ## pin anew what the tests run with
	$(BIN)/uv pip compile --quiet --universal --upgrade --python-version 3.10 --no-annotate --no-header \
		--all-extras --group test --group lint pyproject.toml --output-file requirements.lock

hardening: $(VENV)/.supply  ## some minutes: hostile clients, faults and fuzzers, beyond what make test does
	$(BIN)/python -m pytest hardening $(ARGS)

clean:
	rm -rf $(VENV) benchmarks/.venv .mypy_cache .pytest_cache .ruff_cache .coverage dist build

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: pyproject.toml requirements.lock | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[telemetry,cli]' --group test --group lint \
		--constraint requirements.lock
	@touch $@ $(VENV)/.run

$(VENV)/.supply: $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --group hardening
	@touch $@
