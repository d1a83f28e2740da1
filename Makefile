# make report · make test · make results · make bench · make check · make lint · make mutants
PYTHON ?= python3
DEVICE ?= auto
PRESET ?= full
PY := .venv/bin/python

.PHONY: report test results check bench lint mutants

report: .venv/report  ## render the committed cache into _book/
	$(PY) -m report

check: .venv/report  ## check the rendered book
	$(PY) -m report.check

test: .venv/test  ## the whole test suite
	$(PY) -m pytest

results: .venv/train  ## compute what is missing or stale in cache/
	$(PY) -m analysis.run_all --device $(DEVICE) --preset $(PRESET)

bench: .venv/test  ## the engine against plain PyTorch; JSON=FILE writes the numbers as well
	$(PY) -m tests.benchmarks.engine $(if $(JSON),--json $(JSON))

mutants: .venv/test  ## plants mistakes in the code and tells which test catches each; takes minutes
	$(PY) -m tests.mutants

lint: .venv/dev  ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# One stamp per group of dependencies; a change of pyproject.toml installs anew.
.venv/report: EXTRAS = report
.venv/train: EXTRAS = train
.venv/test: EXTRAS = report,train,test
.venv/dev: EXTRAS = report,train,test,dev
.venv/report .venv/train .venv/test .venv/dev: pyproject.toml | .venv/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: name one with make PYTHON=python3.11 …" >&2; exit 2; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "No virtual environment could be made: on Debian and Ubuntu, apt install python3-venv" >&2; exit 2; }
