# Two commands on a fresh machine: `make repro` runs the pipeline, `make test` every test. Each sets everything up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests wait for disks and servers, too: one worker more than there are cores, and at most four.
WORKERS := $(shell n=$$(($$(nproc 2>/dev/null || echo 2) + 1)); echo $$((n < 4 ? n : 4)))
export DVC_NO_ANALYTICS = 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: api man setup repro verify test sweep hints torch examples lint bench lock resolve clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "datapin needs Python 3.11 or newer; name one with PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get -qq update && apt-get -qq install -y python3-venv; } || { echo "install the package python3-venv first"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

repro: setup
	datapin fetch
	dvc repro

# The digits again, from a clean clone of HEAD, output by output against what the commit pins.
verify: repro
	datapin verify HEAD --repro

test: setup
	@sh tests/servers/install_ceph.sh
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

# Every failpoint, every pair of edits, every drawn example: the suite tries a part of each that is the same each time.
sweep: setup
	DATAPIN_SWEEP=1 $(BIN)/python -m pytest tests/faults tests/property tests/unit/manifest -n $(WORKERS) --dist loadfile

# The hint of every planted fault of `datapin verify`, run as printed: does it end the complaint? Takes half an hour.
hints: setup
	$(BIN)/python -m pytest tests/checks --hints -n $(WORKERS) --dist loadfile

# The tests of what trainers read with the real PyTorch, datasets and TensorFlow, in an environment of its own: gigabytes, unless
# TORCH names a build for CPUs.
TORCH ?= torch>=2.0
TRAINERS ?= datasets>=4.0 tensorflow-cpu>=2.20 lmdb>=1.5
torch: .venv-torch/.ready
	PATH="$$PWD/.venv-torch/bin:$$PATH" DATAPIN_REAL_TORCH=1 .venv-torch/bin/python -m pytest tests/unit/loading tests/cli/test_training_data_guide.py

.venv-torch/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv-torch
	.venv-torch/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.venv-torch/bin/pip install --quiet --disable-pip-version-check $(foreach one,$(TORCH) $(TRAINERS),"$(one)")
	.venv-torch/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# The examples that need a library of their own. LightGBM reads nothing of the network and runs on one thread.
examples: .venv-examples/.ready
	PATH="$$PWD/.venv-examples/bin:$$PATH" DATAPIN_REAL_LIGHTGBM=1 .venv-examples/bin/python -m pytest tests/unit/loading/test_examples.py

.venv-examples/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv-examples
	.venv-examples/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.venv-examples/bin/pip install --quiet --disable-pip-version-check "lightgbm>=4.3"
	.venv-examples/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest tests/shape

bench: setup
	$(BIN)/python bench/run.py

# Resolve everything in one go: boto3, aiobotocore and dvc-s3 pin each other. Needs uv; no index address is written.
lock:
	uv pip compile pyproject.toml --group dev --generate-hashes --no-emit-index-url --no-header --universal \
		--python-version 3.11 -o requirements.lock

# What `pip install` of the wheel costs before anything is downloaded twice: how many versions pip has to look at.
resolve: setup
	$(BIN)/python bench/resolve.py

# The manual pages, from the commands' own help; the wheel installs them.
man: setup
	$(BIN)/python docs/man/write.py

# The page of the Python interface, from the docstrings.
api: setup
	$(BIN)/python docs/write_api.py

clean:
	rm -rf $(VENV) .venv-torch .venv-examples .mypy_cache .ruff_cache .pytest_cache build dist
