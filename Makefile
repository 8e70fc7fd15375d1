# Every target builds .venv from requirements.lock first if need be, and passes ARGS="…" on.
# PY picks the interpreter: PY=python3.13 make test
PY ?= python3
ARGS ?=
VENV := .venv
PYTHON := $(VENV)/bin/python
UV := UV_PYTHON_DOWNLOADS=never $(VENV)/bin/uv
STAMP := $(VENV)/.stamp
DOCS_STAMP := $(VENV)/.docs-stamp

# Behind a company's proxy the system's certificates are the ones that hold, not uv's own list.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/ssl/cert.pem /etc/pki/tls/certs/ca-bundle.crt),)
export UV_SYSTEM_CERTS := true
endif

# A PY that is named and is not the one .venv was built with rebuilds it.
ifneq ($(origin PY),file)
ifneq ($(PY),$(shell cat $(VENV)/.interpreter 2>/dev/null))
$(shell rm -f $(STAMP))
endif
endif

.DEFAULT_GOAL := help
.PHONY: help setup train predict train-fashion train-calculator scan ablate diagnose eval-aer eval-hardware learn-device tune report bench docs test test-all lint format lock clean

help: ## Say what there is to do
	@echo 'Usage: make TARGET [ARGS="--flags of the command"] [PY=python3.13]'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1|\2/' | column -t -s '|'

setup: $(STAMP) ## Build the environment, nothing else

train: $(STAMP) ## Train on your own table or images (ARGS="--data my.csv --target species")
	@$(PYTHON) -m pipelines.train $(ARGS)

predict: $(STAMP) ## Let a run of yours predict new rows (ARGS="--run my --data new.csv")
	@$(PYTHON) -m pipelines.predict $(ARGS)

train-fashion: $(STAMP) ## Train the hybrid classifier on Fashion-MNIST (ARGS="--help" lists all flags)
	@$(PYTHON) -m pipelines.train_fashion $(ARGS)

train-calculator: $(STAMP) ## Train two qubits to add, or to compute another function of two numbers
	@$(PYTHON) -m pipelines.train_calculator $(ARGS)

scan: $(STAMP) ## Train many configurations in one program; does the best beat the default?
	@$(PYTHON) -m pipelines.scan $(ARGS)

ablate: $(STAMP) ## What did the quantum part contribute? The model and its twins, over seeds and sizes
	@$(PYTHON) -m pipelines.ablate $(ARGS)

diagnose: $(STAMP) ## What a trained circuit can represent and what it uses of that, in pictures
	@$(PYTHON) -m pipelines.diagnose $(ARGS)

eval-aer: $(STAMP) ## Evaluate trained runs on Aer: exact, with shots, with the noise of IBM's devices
	@$(PYTHON) -m pipelines.eval_aer $(ARGS)

eval-hardware: $(STAMP) ## Evaluate a trained run on a quantum computer, or a simulated one, in one job
	@$(PYTHON) -m pipelines.eval_hardware $(ARGS)

learn-device: $(STAMP) ## Learn in one job how a device runs a trained circuit (device.json)
	@$(PYTHON) -m pipelines.learn_device $(ARGS)

tune: $(STAMP) ## Continue a run's training through its device's learned noise
	@$(PYTHON) -m pipelines.tune $(ARGS)

report: $(STAMP) ## Write results/index.html: all runs side by side
	@$(PYTHON) -m pipelines.report $(ARGS)

bench: $(STAMP) ## Measure speed: ratios in one run, compile and steady state apart
	@$(PYTHON) -m pipelines.bench $(ARGS)

docs: $(DOCS_STAMP) ## Build the documentation into docs/_build/html, and run its tutorials
	@$(PYTHON) docs/tables.py --check
	@$(PYTHON) -m sphinx --fail-on-warning --keep-going -q -b html $(ARGS) docs docs/_build/html
	@echo "Open docs/_build/html/index.html"

# Half of the time would be XLA's compilation: here it optimises little. `make test-all` runs the
# same tests on the programs that users run.
QUICK_XLA := --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true \
    --xla_cpu_use_fusion_emitters=false
test: export XLA_FLAGS := $(QUICK_XLA) $(XLA_FLAGS)
test: $(STAMP) ## Run the tests (minutes)
	@$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" $(ARGS)

test-all: $(DOCS_STAMP) ## Run the tests and the slow proofs, also under Python 3.13; build the documentation
	@$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(STAMP) ## Check style, types and imports
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

format: $(STAMP) ## Put the code into shape
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

lock: $(STAMP) ## Resolve all locks again: ours, that of the documentation, and the peers'
	@$(UV) pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	    --extra pipelines --extra bridge --extra search --extra sklearn --extra track --group dev --no-annotate --no-header --upgrade --quiet \
	    --output-file requirements.lock
	@$(UV) pip compile --group docs --constraint requirements.lock --universal --python-version 3.11 \
	    --generate-hashes --no-annotate --no-header --upgrade --quiet --output-file requirements-docs.lock
	@$(PYTHON) -m pipelines.benchmarks.peers | $(UV) pip compile - --universal \
	    --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet \
	    --output-file requirements-peers.lock

clean: ## Remove the environment and all caches; results stay
	rm -rf $(VENV) .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis dist docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The interpreter is asked, not looked up: a version manager's shim can be there and fail.
# The line on fonts indexes them now, so that the first run does not wait for it. It does not read
# an old index: another environment's, found in the same cache, can miss matplotlib's own fonts.
$(STAMP): requirements.lock pyproject.toml
	@$(PY) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null || { \
	    echo "Error: PY must be a Python of 3.11 to 3.14 that runs, but is '$(PY)'; name one: make PY=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PY) -c 'import platform, sys; sys.exit((platform.system(), platform.machine()) not in {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64")})' || { \
	    echo "Error: JAX has no packages for this machine; use Linux, macOS on Apple silicon, or WSL on Windows" >&2; exit 2; }
	@echo "Setting up $(VENV) (once, about half a minute and 1 GB) …" >&2
	@$(PY) -m venv --clear $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@$(UV) pip install --quiet --python $(PYTHON) --require-hashes --requirements requirements.lock
	@$(UV) pip install --quiet --python $(PYTHON) --no-deps --no-build-isolation --editable .
	@$(PYTHON) -c 'from matplotlib import font_manager; font_manager._load_fontmanager(try_read_cache=False)'
	@echo '$(PY)' > $(VENV)/.interpreter
	@touch $@

# Beside the environment, so that `make setup` does not wait for what only the documentation needs.
$(DOCS_STAMP): $(STAMP) requirements-docs.lock
	@echo "Installing what the documentation needs (once, about half a minute) …" >&2
	@$(UV) pip install --quiet --python $(PYTHON) --require-hashes --requirements requirements-docs.lock
	@touch $@
