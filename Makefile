# The course's commands. Each sets up .venv by itself; nothing but Python 3.11 or newer, git and make is needed.
# Written for GNU make 3.81 (the one of macOS) and any POSIX shell.

# Once .venv exists it stays with the Python that made it, unless another is asked for: make test PYTHON=python3.12
ifeq ($(origin PYTHON),undefined)
PYTHON := $(or $(shell cat .venv/.python 2>/dev/null),python3)
endif
PY    := .venv/bin/python
READY := .venv/.ready-$(subst /,-,$(PYTHON))
PIP   := $(PY) -m pip --quiet --disable-pip-version-check --no-input

# Two test processes on two cores: more threads in each would only fight. The notebooks are compared with their stored
# outputs, so those are made and tested alike on every machine: on the CPU, in fp32, with the quick profile.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile
SAME   := LECTURE_DEVICE=cpu LECTURE_PROFILE=quick LECTURE_PRECISION=fp32

BIOME  := @biomejs/biome@2.6.8

.NOTPARALLEL:
.PHONY: help handouts test test-style test-unit test-notebooks test-lowest lab kaggle notebooks notebooks-light release
.PHONY: checkpoints bench clean setup tools city

help:
	@echo "make handouts      execute the notebooks and render them: handouts/_build (HTML and PDF)"
	@echo "make test          test everything: style, package, notebooks"
	@echo "make test-lowest   test the package with the lowest versions that pyproject.toml allows (6 GB of disk)"
	@echo "make lab           open the notebooks in JupyterLab"
	@echo "make kaggle        gather the wheels that Kaggle and Colab need: dist/kaggle"
	@echo "make notebooks     execute the notebooks and store their outputs in them"
	@echo "make notebooks-light OUT=folder   copy the notebooks without outputs, for platforms with a small limit"
	@echo "make release VERSION=0.1.0   wheels, notebooks, site and PDFs with their checksums: dist/0.1.0"
	@echo "make checkpoints   train the shipped weights anew, and the comparisons over several seeds"
	@echo "make bench         measure speeds"
	@echo "make clean         remove .venv and everything generated"
	@echo "Another Python:    make test PYTHON=python3.12"

handouts: setup tools
	@$(PY) handouts/build.py

# Every stage runs, also after one that failed, and the end tells which did.
test: setup tools
	@failed=0; summary=; \
	for stage in style unit notebooks; do \
	  echo "== $$stage"; begin=$$(date +%s); \
	  if $(MAKE) --no-print-directory test-$$stage; then result=passed; else result=FAILED; failed=1; fi; \
	  summary="$$summary\n  $$stage: $$result in $$(( $$(date +%s) - begin )) s"; \
	done; \
	printf "== summary$$summary\n"; exit $$failed

test-style: setup
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@if npx --yes $(BIOME) --version >/dev/null 2>&1; then cd handouts/live && npx --yes $(BIOME) check; \
	  else echo "No npm, or no network: the JavaScript of handouts/live was not checked."; fi

test-unit: setup city
	@$(PYTEST) --benchmark-disable --ignore=tests/benchmarks tests

test-notebooks: setup city
	@$(SAME) $(PYTEST) --nbval --nbval-current-env notebooks

# The lower bounds of pyproject.toml, proven in an environment of their own. Not a part of `make test`: it fetches another
# PyTorch. What needs the package installed or a browser stays out.
LOWEST := build/lowest
test-lowest: setup city
	@[ -d $(LOWEST) ] || $(PY) -m venv $(LOWEST)
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --extra test -r pyproject.toml
	@$(LOWEST)/bin/uv pip freeze --quiet --python $(LOWEST)/bin/python > $(LOWEST)/versions.txt
	@PYTHONPATH=$(CURDIR) $(subst $(PY),$(LOWEST)/bin/python,$(PYTEST)) --benchmark-disable \
	  --ignore=tests/benchmarks --ignore=tests/browser --ignore=tests/handouts --ignore=tests/notebooks \
	  --ignore=tests/test_wheel.py tests

lab: setup
	@$(PY) -m jupyter lab --notebook-dir=notebooks

# Needs a network, but those who upload the folder need none.
kaggle: setup
	@$(PY) handouts/platforms.py kaggle

notebooks: setup city
	@$(SAME) $(PY) handouts/execute.py --inplace

notebooks-light: setup
	@[ -n "$(OUT)" ] || { echo "Name a new folder: make notebooks-light OUT=folder"; exit 2; }
	@$(PY) handouts/platforms.py light "$(OUT)"

# Looks before the long work whether it is of any use.
release: setup tools
	@$(PY) handouts/release.py --check "$(VERSION)"
	@$(PY) handouts/build.py
	@$(PY) handouts/release.py "$(VERSION)"

checkpoints: setup
	@for name in $$($(PY) -c "from lecture_utils.recipes import RECIPES; print(*RECIPES)"); do \
	  $(PY) -m lecture_utils train $$name --ship --restart || exit 1; done
	@for name in $$($(PY) -c "from lecture_utils.studies import STUDIES; print(*STUDIES)"); do \
	  $(PY) -m lecture_utils study $$name --restart || exit 1; done

bench: setup
	@$(PY) -m pytest tests/benchmarks --benchmark-only

clean:
	rm -rf .venv handouts/_build build dist runs data/city-* data/proposals* *.egg-info
	rm -rf .pytest_cache .ruff_cache .hypothesis .benchmarks notebooks/.ipynb_checkpoints
	find lecture_utils lecture_course tests handouts notebooks -name __pycache__ -type d -prune -exec rm -rf {} +

# The generated city, made once and before two processes want it at the same time.
city: setup
	@$(PY) -m lecture_utils data --quick

# What is not Python's is only named: without it something is left out, and that is said again where it happens.
tools: setup
	@$(PY) -c "from lecture_utils import doctor; print(doctor.missing_tools(), end='')"

setup: $(READY)

# The stamp comes last, so that a set-up that failed or was interrupted is done again.
$(READY): pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "$(PYTHON) is missing. Install it with: sudo apt-get install -y python3 python3-venv (macOS: brew install python)"; \
	  echo "or name the one you have: make PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
	  echo "The course needs Python 3.11 or newer, and $(PYTHON) is: $$("$(PYTHON)" -V 2>&1)"; \
	  echo "Name a newer one: make PYTHON=python3.12"; exit 1; }
	@"$(PYTHON)" -c "import venv, ensurepip" 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments. Install that with: sudo apt-get install -y python3-venv"; exit 1; }
	@if [ "$$(cat .venv/.python 2>/dev/null || echo "$(PYTHON)")" != "$(PYTHON)" ] || ! $(PIP) --version >/dev/null 2>&1; \
	  then "$(PYTHON)" -m venv --clear .venv; fi
	@echo "$(PYTHON)" > .venv/.python
	@echo "Setting up .venv (the first time takes minutes and 6 GB of disk) ..."
	@rm -f .venv/.ready-*
	@$(PIP) install -e ".[dev]"
	@touch "$@"
