# Everything a person or a CI machine does here. Needs GNU make, a POSIX shell and Python 3.11+; npm adds the buf checks.
#
# Each install has a stamp named after the checksum of its lock file, so a second run starts at once and a changed lock
# installs again.

.POSIX:
.DEFAULT_GOAL := help
.PHONY: help run test drill chaos lint proto replay bench bench-pipeline soak test-pythons test-image test-kubernetes down clean lock install-run install-dev install-buf check-python check-proto check-policy

# Some machines forbid the cache of compiled modules; then each of the many processes compiles everything at its start.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin
MESH_HOME ?= $(CURDIR)/.mesh
export MESH_HOME
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
UV ?= $(if $(wildcard $(BIN)/uv),$(BIN)/uv,uv)
BUF := node_modules/.bin/buf

key = $(shell cksum < $(1) | tr -s ' \t' '-')
RUN_STAMP := $(VENV)/.installed-run-$(call key,requirements/run.lock)
DEV_STAMP := $(VENV)/.installed-dev-$(call key,requirements/dev.lock)
FOREIGN_STAMP := $(VENV)/.installed-foreign-$(call key,requirements/foreign.lock)
BUF_STAMP := node_modules/.installed-$(call key,package-lock.json)
PACKAGES := $(patsubst %/__init__.py,%,$(wildcard */__init__.py))
MYPY_PACKAGES := $(foreach package,$(PACKAGES),-p $(package))

# A file of tests stays in one process, so that what its tests share is made once; the longest files come first, not those
# with the most tests. Four processes on two cores: much of the time a test waits for processes that it started.
PYTEST_OPTIONS ?= -n 4 --dist loadfile --no-loadscope-reorder
PYTHONS ?= 3.11 3.12 3.13 3.14
PYTHONS_TESTS ?= tests
REPLAY_FILE ?= ../shared/data/candles-coinbase-ONE_HOUR.parquet
REPLAY_PRODUCTS ?= BTC-USD,ETH-USD,SOL-USD
REPLAY_FROM ?= 2025-01-01
REPLAY_TO ?= 2025-06-30
REPLAY_PROFILE ?= exercise
DRILL_SEED ?= 1
DRILL_RUNS ?= 300
CHAOS_SEED ?= 1
CHAOS_RUNS ?= 2000
CHAOS_LANES ?= 4
BENCH_OPTIONS ?=
SOAK_OPTIONS ?=

help: ## show what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

run: install-run ## install what is needed and run the whole pipeline; Ctrl-C stops it
	@$(BIN)/mesh up

test: install-dev install-buf ## install the test tools and run every test
	@echo "Running the tests in four processes."
	@$(BIN)/python -m pytest $(PYTEST_OPTIONS)

drill: install-dev ## 300 runs against a faulty exchange, with deaths and halts; settable: DRILL_SEED, DRILL_RUNS
	@PYTHONPATH=.:gen/python:tests/support $(BIN)/python -m tests.drill --seed $(DRILL_SEED) --runs $(DRILL_RUNS)

chaos: install-dev ## 2,000 runs of a grid of faults and kill -9 at each point of an order's way; settable: CHAOS_SEED, _RUNS, _LANES
	@PYTHONPATH=.:gen/python:tests/support $(BIN)/python -m tests.chaos --seed $(CHAOS_SEED) --runs $(CHAOS_RUNS) \
		--lanes $(CHAOS_LANES)

test-pythons: install-dev ## the tests on every Python 3.11 to 3.14 to be had; settable: PYTHONS, PYTHONS_TESTS
	@$(BIN)/python tools/pythons.py --only $(PYTHONS) -- $(PYTHONS_TESTS)

test-image: install-dev ## build the container image and run it; as root, with debootstrap, buildah and podman; a quarter of an hour
	@IMAGE_TESTS=1 $(BIN)/python -m pytest -n 0 -s tests/image

test-kubernetes: install-dev ## apply the mesh to a Kubernetes with Istio and try it there; KUBECONFIG names one; twenty minutes and the image
	@KUBERNETES_TESTS=1 $(BIN)/python -m pytest -n 0 -s tests/kubernetes

lint: install-dev install-buf check-proto check-policy ## ruff, mypy --strict, buf, and that generated files are current
	@echo "ruff check"
	@$(BIN)/ruff check .
	@echo "ruff format --check"
	@$(BIN)/ruff format --check .
	@echo "mypy --strict $(PACKAGES) tools"
	@$(BIN)/mypy --strict $(MYPY_PACKAGES)
	@$(BIN)/mypy --strict tools
	@echo "Everything is clean."

proto: install-dev install-buf ## generate from proto/: gen/python, istio/generated, docs/contract.md
	@test -x $(BUF) || { echo "make proto needs npm, which installs buf"; exit 1; }
	@$(BUF) generate
	@$(BIN)/python tools/mesh_policy

replay: install-run ## replay half a year of real candles; settable: REPLAY_FILE, _PRODUCTS, _FROM, _TO, _PROFILE
	@test -f "$(REPLAY_FILE)" || { \
		echo "There is no candle file $(REPLAY_FILE); name one: make replay REPLAY_FILE=candles.parquet"; exit 1; }
	@$(BIN)/mesh replay "$(REPLAY_FILE)" --products $(REPLAY_PRODUCTS) --from $(REPLAY_FROM) --to $(REPLAY_TO) \
		--profile $(REPLAY_PROFILE)

bench: install-dev ## measure features, predictions, signal path, the pipeline in short, Envoy; about ten minutes
	@$(BIN)/python -m bench.features
	@$(BIN)/python -m bench.predict
	@$(BIN)/python -m bench.signal_path
	@$(BIN)/python -m bench.pipeline --only statements --only paced --only burst --items 200 --pace 10 --seconds 10
	@PYTHONPATH=.:gen/python:tests/support $(BIN)/python -m bench.envoy

bench-pipeline: install-dev ## measure the whole pipeline, beside others; about half an hour; settable: BENCH_OPTIONS
	@$(BIN)/python -m bench.pipeline --orchestrators 1,2,4 $(BENCH_OPTIONS)

soak: install-dev ## trade for half an hour, with a death of every process, and judge it; settable: SOAK_OPTIONS
	@PYTHONPATH=.:gen/python:tests/support $(BIN)/python -m bench.soak $(SOAK_OPTIONS)

down: ## stop a running pipeline
	@if [ -x $(BIN)/mesh ]; then $(BIN)/mesh down; else echo "Nothing is installed, so nothing runs."; fi

clean: ## stop, then remove what was installed and built; the ledger in MESH_HOME stay
	@if [ -x $(BIN)/mesh ]; then $(BIN)/mesh down || true; fi
	@rm -rf $(VENV) node_modules build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: ## resolve the lock files anew (needs uv and npm)
	@command -v $(UV) >/dev/null || { echo "make lock needs uv"; exit 1; }
	@$(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-header -q \
		pyproject.toml --extra otlp -o requirements/run.lock
	@$(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-header -q \
		pyproject.toml --extra otlp --extra dev -o requirements/dev.lock
	@$(UV) pip compile --universal --python-version 3.11 --generate-hashes --no-header -q --no-deps \
		requirements/foreign.in -o requirements/foreign.lock
	@npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund --silent

# ---- installing ------------------------------------------------------------------------------------------------------

install-run: $(RUN_STAMP)
install-dev: $(DEV_STAMP) $(FOREIGN_STAMP)
install-buf: $(BUF_STAMP)

check-python:
	@test -n "$(PYTHON)" || { \
		echo "Python 3.11 or newer is needed and was not found; name one: make run PYTHON=/path/to/python3"; exit 1; }

$(BIN)/python: | check-python
	@echo "Making $(VENV) with $$($(PYTHON) --version)."
	@$(PYTHON) -m venv $(VENV) || { \
		rm -rf $(VENV); echo "The venv module of $(PYTHON) does not work; on Debian: apt-get install python3-venv"; exit 1; }

$(RUN_STAMP): | $(BIN)/python
	@sh tools/install.sh requirements/run.lock
	@rm -f $(VENV)/.installed-run-* && touch $@

$(DEV_STAMP): | $(BIN)/python
	@sh tools/install.sh requirements/dev.lock
	@rm -f $(VENV)/.installed-dev-* && touch $@

$(FOREIGN_STAMP): $(DEV_STAMP)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-input --no-deps --require-hashes \
		-r requirements/foreign.lock
	@rm -f $(VENV)/.installed-foreign-* && touch $@

# Without npm, or without a way to its registry, everything but the checks of the contracts by buf still works. Not
# npm ci: it refuses a lock that lacks a program for some other system; versions are exact and hashes checked either way.
$(BUF_STAMP):
	@if ! command -v npm >/dev/null; then echo "npm is not installed: the checks that need buf are skipped."; \
	elif npm install --no-save --no-audit --no-fund --silent; then touch $@; \
	else echo "npm could not install buf: the checks that need it are skipped."; fi

check-proto:
	@if [ -x $(BUF) ]; then sh tools/check_proto.sh $(BUF); else echo "buf is not there: skipped."; fi

check-policy: install-dev
	@echo "istio/generated and docs/contract.md are those of the contracts"
	@$(BIN)/python tools/mesh_policy --check
