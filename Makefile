# Two commands are enough: `make run` and `make test`. Everything lives in .venv and .sekisho; nothing else is touched.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
JOBS ?= 3
SECONDS ?= 60
PYTEST ?= $(BIN)/pytest -n $(JOBS) --dist worksteal

# A stamp is newer than what it was installed from, so nothing is installed twice for the same lock.
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev

BENCHES := bench bench-connections bench-sizes bench-burst bench-memory bench-idle bench-deep bench-isolation bench-api

.PHONY: run install dev-install test test-slow fuzz lint format docs messages $(BENCHES) lock clean

run: $(RUNTIME) ## start a whole relay on this machine, in capture mode; Ctrl-C stops it
	@exec $(BIN)/sekisho dev $(ARGS)

install: $(RUNTIME) ## prepare .venv: the locked dependencies and the `sekisho` command

dev-install: $(DEV)

test: $(DEV) ## the whole test suite but the slow rounds; what CI runs
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: $(DEV) ## an hour long: 200 rounds of kill -9 each by route and by MX, and every fault in turn (CONTRIBUTING.md lists them)
	$(PYTEST) -m slow --timeout 3600 $(ARGS)

fuzz: $(DEV) ## look for input that breaks a reader; SECONDS=60 for each target, ARGS="replies session" for some
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(ARGS)

lint: $(DEV) ## style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy tools

format: $(DEV)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(DEV) ## write the generated pages of docs/ anew
	$(BIN)/python tools/gendocs.py

messages: $(DEV) ## bring the catalogues of sekisho/locale up to date with the texts of the code; says what is left to translate
	$(BIN)/python -m tools.messages

# docs/benchmarks.md says what each measures. BENCH=folder of the bench.
$(BENCHES): $(RUNTIME) ## measure this checkout; `bench`, `-connections` and `-sizes` against Postfix + OpenDKIM
	@$(BIN)/python -m tools.$(subst -,_,$@)

# Versions and hashes only. The compiler's own settings are put aside so that the hashes are those of everything the
# public index has of a version, not those of the builds that one machine happens to hold.
lock: $(DEV)
	env -u PIP_FIND_LINKS -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE=/dev/null sh tools/lock.sh $(BIN) $(ARGS)

clean: ## remove what was installed; the data in .sekisho stays
	rm -rf $(VENV) .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@sh tools/venv.sh $(VENV)

# The build back end is locked too, hence no build isolation.
$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --require-hashes --no-deps -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements-dev.lock pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --require-hashes --no-deps -r requirements-dev.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@ $(RUNTIME)
