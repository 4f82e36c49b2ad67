# Two commands: `make demo` and `make test`. Everything else is a convenience.
#
#   make demo                 environment, world, build with progress, evaluation table, page at http://127.0.0.1:8000
#   make demo SERVE=0         stop after the table
#   make demo TRAIN=all       train the network that reads pictures, too, and hold it against the card of the one that ships
#   make env                  only the environment, in .venv
#   make test                 the tests, the import order and the style; JOBS=1 runs them in one process
#   make TORCH_INDEX=https://download.pytorch.org/whl/cpu demo      take PyTorch from another index

SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
SERVE ?= 1
PORT ?= 8000
WORKSPACE ?= workspace/demo
JOBS ?= 2
TORCH_INDEX ?=
TRAIN ?= heads
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: env demo test check wheel quality clean

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { echo "Corkboard needs Python 3.11 or newer; found $$($(PYTHON) --version). Set PYTHON=/path/to/python3.11."; exit 2; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: env
	$(BIN)/corkboard demo --workspace $(WORKSPACE) --port $(PORT) --train $(TRAIN) $(if $(filter 0,$(SERVE)),--no-serve)

# two processes, a file in one of them; one thread a matrix product, as the command line sets it for itself
test: export OMP_NUM_THREADS = 1
test: env check
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

check: env
	$(BIN)/ruff check corkboard tests benchmarks
	$(BIN)/ruff format --check corkboard tests benchmarks
	$(BIN)/lint-imports

quality: env
	$(BIN)/python -m pytest -q -m quality

wheel: env
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) workspace build dist *.egg-info
