# make demo | make test | make test-all | make bench | make gpu | make gpu-wheels | make lint
#
# TORCH        what pip is asked for            (default: torch==2.13.0)
# TORCH_INDEX  package index torch comes from   (default: pip's own, whose Linux build carries CUDA;
#              https://download.pytorch.org/whl/cpu has the small CPU build)
# SEMAFLOW_THREADS  CPU cores to use            (default: all)
# SEMAFLOW_DEVICE   where fields live           (default: cpu; or cuda)
# TO           gpu-wheels: folder to download into (default: only list)
# WHEELS       folder of wheels to install from, without an index, beside the torch that $(PYTHON) has
PYTHON ?= python3
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
WHEELS ?=
TO ?=
# Tests run in two processes, each on one core.
TWO := SEMAFLOW_THREADS=1 OMP_NUM_THREADS=1
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install demo test test-all bench gpu gpu-wheels lint clean

install: $(VENV)/installed

$(VENV)/installed: setup.cfg pyproject.toml
ifeq ($(WHEELS),)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip setuptools
	$(BIN)/pip install --quiet "$(TORCH)" $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(BIN)/pip install --quiet -e ".[all,dev]"
else
	$(PYTHON) -m venv --system-site-packages $(VENV)
	$(BIN)/pip install --quiet --no-index --no-deps $(WHEELS)/*.whl
	$(BIN)/pip install --quiet --no-index --no-deps --no-build-isolation -e .
endif
	touch $@

demo: install
	$(BIN)/semaflow demo -o demo

test: install
	$(BIN)/ruff check .
	$(TWO) $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-all: install
	$(BIN)/ruff check .
	$(TWO) $(BIN)/python -m pytest -n 2 --dist loadfile

bench: install
	$(BIN)/python -m benchmarks

# Ends with exit code 2 where there is no CUDA device. A machine without a package index takes WHEELS=folder.
gpu: install
	$(BIN)/python -m benchmarks.gpu

# Lists what a CUDA machine needs beyond torch; TO=folder downloads it.
gpu-wheels: install
	$(BIN)/python -m benchmarks.wheels $(TO)

lint: install
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) demo build *.egg-info
