# `make` renders the report; `make help` lists all targets.
PYTHON ?= python3
DEVICE ?= auto
PRESET ?= full
VENV := .venv$(if $(LOCKED),-locked)
PY := $(VENV)/bin/python

.PHONY: report serve check test results audit bench mutants lint lock help

report: $(VENV)/report  ## render the report from the committed cache into _book/ (default)
	$(PY) -m report

serve: $(VENV)/report  ## show the report on this machine; renders again when a chapter or style changes
	$(PY) -m report.serve

check: $(VENV)/report  ## check the rendered report
	$(PY) -m report.check

test: $(VENV)/test  ## run the tests; SLOW=1 runs those as well that take long, as CI does
	$(PY) -m pytest $(if $(SLOW),-m "")

results: $(VENV)/train  ## compute missing and stale results; options: DEVICE=auto|cpu|cuda|cuda:N|mps, PRESET=full|quick
	$(PY) -m analysis.run_all --device $(DEVICE) --preset $(PRESET)

audit: $(VENV)/train  ## recompute the first epochs of a few cached results and compare; option: SEED=N repeats a draw
	$(PY) -m analysis.audit --epochs 2 $(if $(SEED),--seed $(SEED))

bench: $(VENV)/test  ## compare the speed of the engine with plain PyTorch and, where it is installed, JAX; option: JSON=FILE
	$(PY) -m tests.benchmarks.engine $(if $(JSON),--json $(JSON))

mutants: $(VENV)/test  ## check that the tests detect deliberate mistakes in the code; takes minutes
	$(PY) -m tests.mutants

lint: $(VENV)/dev  ## run ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# The newest versions within the ranges of pyproject.toml, those of requirements/results.txt for the packages that the
# results were computed with, each with its hashes.
COMPILE = $(PY) -m uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --constraints requirements/results.txt --no-annotate --no-emit-index-url --custom-compile-command "make lock"

lock: $(VENV)/dev  ## update the locked versions in requirements/
	$(COMPILE) --extra report --output-file requirements/report.lock
	$(COMPILE) --extra report --extra train --extra test --extra dev --output-file requirements/all.lock

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'LOCKED=1 installs exactly the locked versions, into .venv-locked.'

# One stamp per group of dependencies; changing pyproject.toml or a lock reinstalls.
# LOCKED=1 installs exactly the versions of a lock into a separate environment, and imports our code from the checkout.
ifdef LOCKED
export PYTHONPATH := $(CURDIR)
endif
LOCK = all
$(VENV)/report: LOCK = report
$(VENV)/report: EXTRAS = report
$(VENV)/train: EXTRAS = train
$(VENV)/test: EXTRAS = report,train,test
$(VENV)/dev: EXTRAS = report,train,test,dev
INSTALL = $(PY) -m pip install --quiet --disable-pip-version-check
PACKAGES = $(if $(LOCKED),--require-hashes --requirement requirements/$(LOCK).lock,--editable '.[$(EXTRAS)]')
$(VENV)/report $(VENV)/train $(VENV)/test $(VENV)/dev: pyproject.toml $(if $(LOCKED),$(wildcard requirements/*.lock)) | $(PY)
WITH_UV = command -v uv >/dev/null || $(INSTALL) uv || true; PATH="$$PATH:$(VENV)/bin" uv pip install --quiet --python $(PY)
$(VENV)/train $(VENV)/test $(VENV)/dev:
	$(if $(LOCKED),,@$(WITHOUT_CUDA))
	$(INSTALL) $(PACKAGES)
	touch $@

# Where there is no NVIDIA driver, PyTorch's wheels for CPUs do, if uv can have them: they take a tenth of the space.
# Else PyTorch is left to pip, whose configuration may say where its wheels are.
WITHOUT_CUDA = command -v nvidia-smi >/dev/null || [ "$$(uname)" != Linux ] || \
  { export UV_HTTP_TIMEOUT=10; $(WITH_UV) --torch-backend=cpu torch torchvision 2>/dev/null; } || true

# uv, where it is or can be had, takes seconds for what pip takes a minute for. As pip does, it compiles what it installs:
# where Python may write no bytecode, every render would do so.
$(VENV)/report:
	@$(WITH_UV) --compile-bytecode $(PACKAGES) || $(INSTALL) $(PACKAGES)
	touch $@

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is required: choose one with make PYTHON=python3.11 …" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Could not create a virtual environment: on Debian and Ubuntu, apt install python3-venv" >&2; exit 2; }
