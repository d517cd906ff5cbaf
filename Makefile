# Each target sets up what it needs, and only once; `make help` lists them.
# Another Python in an environment of its own: make test PYTHON=python3.13 VENV=.venv313

# Started rather than looked up: a version manager's shim is on PATH for versions that are not in use.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV ?= .venv

BIN := $(VENV)/bin
COMPILED := setup.py $(wildcard whereabouts/*.pyx whereabouts/*.pxd whereabouts/native/*.[ch])

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help run test lint bench bench-report fuzz faults docs dist image kind kind-clean clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

run: $(VENV)/.built ## show the plugin at work on the embedded store
	$(BIN)/python examples/tour.py

# Modules are dealt out in the order of tests/conftest.py; each worker starts an API server of its own. A test
# that takes several times as long as the longest does on a busy machine waits for ever: it is ended, and named.
WORKERS ?= auto
test: PARALLEL = --maxprocesses 4 --dist loadfile --no-loadscope-reorder -p no:benchmark
test: $(VENV)/.built $(VENV)/.has-test ## run every test, by so many WORKERS; the last lines say what was left out
	$(BIN)/python -m pytest --timeout=600 $(if $(WORKERS),-n $(WORKERS) $(PARALLEL))

lint: $(VENV)/.built $(VENV)/.has-dev ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" cython-lint whereabouts # looks for pycodestyle on PATH

bench: $(VENV)/.built $(VENV)/.has-bench ## measure, beside the alternatives, in ten minutes
	$(BIN)/python -m pytest bench -m "not long"

bench-report: $(VENV)/.built $(VENV)/.has-bench ## measure all, and write docs/results.md and its plots
	mkdir -p build/bench
	$(BIN)/python -m pytest bench --benchmark-json=build/bench/results.json
	$(BIN)/python -m bench.report build/bench/results.json

fuzz: $(VENV)/.built $(VENV)/.has-fuzz ## look for inputs that break a promise: TARGET, SECONDS for each, SANITIZE
	$(BIN)/python -m fuzz $(TARGET) --seconds $(or $(SECONDS),60) $(if $(SANITIZE),--sanitize)

faults: $(VENV)/.built $(VENV)/.has-test ## load while processes, disks and networks fail: MINUTES, SEED, WORLD
	$(BIN)/python -m tests.campaign --minutes $(or $(MINUTES),60) --json build/faults \
		$(addprefix --seed ,$(SEED)) $(addprefix --world ,$(WORLD))

docs: $(VENV)/.has-docs ## build the documentation into build/docs; a warning is an error
	$(BIN)/python -m sphinx --quiet --fresh-env --write-all --fail-on-warning --keep-going docs build/docs

dist: $(VENV)/.has-build ## build the source distribution and, from it, the wheel, into dist/
	$(BIN)/python -m build

image: ## build the container image, with docker or podman: IMAGE, PLATFORMS
	@deploy/build-image

kind: ## make a local cluster with whereabouts in it, by kind: COMPUTE_NODES, CLUSTER
	@deploy/kind/up

kind-clean: ## remove that cluster
	@deploy/kind/down

clean: ## remove all that make made, the environment too
	rm -rf $(VENV) build dist *.egg-info whereabouts/*.so whereabouts/_*.c whereabouts/native/whereabouts
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "whereabouts needs Python 3.11 or newer, and none was found on PATH:" \
		"install one, or name yours: make PYTHON=/path/to/python3" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

# What a dependency group of pyproject.toml lists.
$(VENV)/.has-%: pyproject.toml $(VENV)/.made
	$(BIN)/python -m pip install --quiet --group $*
	@touch $@

$(VENV)/.built: pyproject.toml $(COMPILED) $(VENV)/.has-build
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable .
	@touch $@
