# make report · make test · make results · make audit · make bench · make check · make lint · make mutants · make lock
PYTHON ?= python3
DEVICE ?= auto
PRESET ?= full
VENV := .venv$(if $(LOCKED),-locked)
PY := $(VENV)/bin/python

.PHONY: report test results audit check bench lint mutants lock

report: $(VENV)/report  ## render the committed cache into _book/
	$(PY) -m report

check: $(VENV)/report  ## check the rendered book
	$(PY) -m report.check

test: $(VENV)/test  ## the whole test suite
	$(PY) -m pytest

results: $(VENV)/train  ## compute what is missing or stale in cache/
	$(PY) -m analysis.run_all --device $(DEVICE) --preset $(PRESET)

audit: $(VENV)/train  ## a few cached results, drawn at random or by SEED, computed again from nothing: their first epochs
	$(PY) -m analysis.audit --epochs 2 $(if $(SEED),--seed $(SEED))

bench: $(VENV)/test  ## the engine against plain PyTorch; JSON=FILE writes the comparison as well
	$(PY) -m tests.benchmarks.engine $(if $(JSON),--json $(JSON))

mutants: $(VENV)/test  ## plants mistakes in the code and tells which test catches each; takes minutes
	$(PY) -m tests.mutants

lint: $(VENV)/dev  ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# The newest versions within pyproject.toml's ranges and what the results were computed with, each with its hashes.
COMPILE = $(PY) -m uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --constraints requirements/results.txt --no-annotate --no-emit-index-url --custom-compile-command "make lock"

lock: $(VENV)/dev  ## chooses the versions in requirements/ anew
	$(COMPILE) --extra report --output-file requirements/report.lock
	$(COMPILE) --extra report --extra train --extra test --extra dev --output-file requirements/all.lock

# One stamp per group of dependencies; a change of pyproject.toml or of a lock installs anew.
# LOCKED=1 installs exactly what a lock names, into an environment of its own, and takes our code from where it lies.
ifdef LOCKED
export PYTHONPATH := $(CURDIR)
endif
LOCK = all
$(VENV)/report: LOCK = report
$(VENV)/report: EXTRAS = report
$(VENV)/train: EXTRAS = train
$(VENV)/test: EXTRAS = report,train,test
$(VENV)/dev: EXTRAS = report,train,test,dev
$(VENV)/report $(VENV)/train $(VENV)/test $(VENV)/dev: pyproject.toml $(if $(LOCKED),$(wildcard requirements/*.lock)) | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check \
	  $(if $(LOCKED),--require-hashes --requirement requirements/$(LOCK).lock,--editable '.[$(EXTRAS)]')
	touch $@

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: name one with make PYTHON=python3.11 …" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "No virtual environment could be made: on Debian and Ubuntu, apt install python3-venv" >&2; exit 2; }
