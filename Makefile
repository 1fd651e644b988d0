# make demo   set up, then the main job on embedded data: phantom, train, predict, evaluate, report
# make test   set up, then all tests
# make check  what CI runs: lint, types, import contracts, tests

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo

ifeq ($(shell command -v $(PYTHON) 2>/dev/null),)
PYTHON := python3
endif

.PHONY: setup demo test check lint clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch torchvision
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/wsrpn-vl phantom write $(DEMO)/data --images 1000 --size 192 --workers 2
	$(BIN)/wsrpn-vl train phantom --index $(DEMO)/data/index.parquet --out $(DEMO)/run $$(test -e $(DEMO)/run/config.json && echo --resume)
	$(BIN)/wsrpn-vl predict $(DEMO)/run "$(DEMO)/data/images/p00000[0-4]*.png" --out $(DEMO)/predictions
	$(BIN)/wsrpn-vl report $(DEMO)/run

test: setup
	$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/basedpyright
	$(BIN)/lint-imports

check: lint test

clean:
	rm -rf $(DEMO) build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
