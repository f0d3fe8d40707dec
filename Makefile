# Everything from nothing but Python 3.11+ and make.
#   make demo    set up, materialize every asset through Dagster, show what came out
#   make ui      Dagster's pages, with the history that the demo left
#   make test    set up, lint, type check, every test
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# torch: `cpu` asks PyTorch's own index for the build without CUDA; `make demo TORCH=default`
# takes what the package index gives (on Linux: the CUDA build, several GB).
TORCH ?= cpu
TORCH_PIN := $(shell grep -E '^torch==' requirements.txt)
TORCH_SOURCE_cpu := --retries 1 --extra-index-url https://download.pytorch.org/whl/cpu
TORCH_SOURCE_default :=

SETUP := $(VENV)/.installed
DEV := $(VENV)/.installed-dev
DEMO_ARGS ?= --sample-size 20000
# Dagster's history; dagster.yaml is looked for there.
export DAGSTER_HOME ?= $(CURDIR)/.dagster
INSTANCE := $(DAGSTER_HOME)/dagster.yaml

.PHONY: help setup dev demo ui test style lint format bench docs sbom lock clean
help:
	@grep -E '^#  ' Makefile | sed 's/^#  //'
	@echo "  make lint | format | bench | docs | sbom | lock | clean"

$(SETUP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "Installing into $(VENV): PyTorch first, then the rest; a minute with a warm package cache, several without"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH_SOURCE_$(TORCH)) "$(TORCH_PIN)"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(DEV): $(SETUP) infra/constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.txt -c infra/constraints.txt -e '.[dev]'
	@touch $@

setup: $(SETUP)
dev: $(DEV)

$(INSTANCE):
	@mkdir -p $(DAGSTER_HOME)
	@ln -sf $(CURDIR)/dagster.yaml $@

demo: $(SETUP) $(INSTANCE)
	$(BIN)/python scripts/demo.py $(DEMO_ARGS)

ui: $(SETUP) $(INSTANCE)
	@$(BIN)/python scripts/ui.py $(UI_ARGS)

test: lint
	env -u DAGSTER_HOME $(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

style: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint: style
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Hours. docs/benchmarks.md says which options its tables were made with.
bench: $(DEV)
	@failed=; for bench in benchmarks/bench_*.py benchmarks/serving.py; do \
	  echo "== $$bench"; $(BIN)/python $$bench || failed="$$failed $$bench"; \
	done; [ -z "$$failed" ] || { echo "These ended with an error:$$failed"; exit 1; }

# The site is build/site/index.html.
docs: $(DEV)
	$(BIN)/python scripts/build_docs.py

# build/sbom: what production is made of, and under which licences.
sbom: $(DEV)
	$(BIN)/python scripts/sbom.py

# infra/requirements.lock, after requirements.txt or infra/constraints.txt have changed.
lock: $(DEV)
	$(BIN)/python scripts/lock.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache src/*.egg-info
	@echo "Left alone: ./lakehouse, .metaflow and .dagster, which hold your runs."
