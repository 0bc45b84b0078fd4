# make demo | make test | make test-all | make bench | make gpu | make lint
#
# TORCH        what pip is asked for            (default: torch==2.13.0)
# TORCH_INDEX  package index torch comes from   (default: pip's own, whose Linux build carries CUDA;
#              https://download.pytorch.org/whl/cpu has the small CPU build)
# SEMAFLOW_THREADS  CPU cores to use            (default: all)
# SEMAFLOW_DEVICE   where fields live           (default: cpu; or cuda)
PYTHON ?= python3
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install demo test test-all bench gpu lint clean

install: $(VENV)/installed

$(VENV)/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip setuptools
	$(BIN)/pip install --quiet "$(TORCH)" $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/pip install --quiet -e ".[all,dev]"
	touch $@

demo: install
	$(BIN)/semaflow demo -o demo

test: install
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -m "not slow"

test-all: install
	$(BIN)/ruff check .
	$(BIN)/python -m pytest

bench: install
	$(BIN)/python -m benchmarks

# Ends with exit code 2 where there is no CUDA device.
gpu: install
	$(BIN)/python -m benchmarks.gpu

lint: install
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) demo build *.egg-info
