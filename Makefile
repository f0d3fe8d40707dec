# Everything from nothing but Python 3.11+ and make.
#   make demo    set up, run the main job, show what came out
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
RUN_ARGS ?= --sample-size 20000

.PHONY: help setup dev demo test lint format bench clean
help:
	@grep -E '^#  ' Makefile | sed 's/^#  //'
	@echo "  make lint | format | bench | clean"

$(SETUP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH_SOURCE_$(TORCH)) "$(TORCH_PIN)"
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(DEV): $(SETUP)
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.txt -e '.[dev]'
	@touch $@

setup: $(SETUP)
dev: $(DEV)

demo: $(SETUP)
	$(BIN)/python flows/fraud_detection_flow.py run $(RUN_ARGS)
	$(BIN)/fraud-mlops summary --dataset synthetic_claims

test: lint
	$(BIN)/python -m pytest -q -n auto --dist loadfile

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEV)
	for bench in benchmarks/bench_*.py; do $(BIN)/python $$bench || exit 1; done

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache src/*.egg-info
	@echo "Left alone: ./lakehouse and .metaflow, which hold your runs."
