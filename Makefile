# `make quickstart` and `make test` are all that a newcomer needs: both install what is missing first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
QUICKSTART := runs/quickstart
EXPORTED := savedmodels/quickstart/1
# Tests run in as many processes as there are cores; what a file shares is made once in each.
JOBS ?= auto
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

.PHONY: quickstart test test-all test-wheel lint clean
.DELETE_ON_ERROR:

$(INSTALLED): setup.cfg setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

quickstart: $(INSTALLED)
	$(BIN)/python -m launch.train --flagfile=launch/flagfiles/quickstart.cfg --workdir=$(QUICKSTART)
	$(BIN)/python -m launch.evaluate --workdir=$(QUICKSTART) --output_dir=$(QUICKSTART)/evaluation
	test -d $(EXPORTED) || $(BIN)/python -m launch.export --workdir=$(QUICKSTART) --output=$(EXPORTED)
	@echo
	@echo "Learning curves  $(QUICKSTART)/learning_curves.png"
	@echo "Example scans    $(QUICKSTART)/evaluation/adaptive.png (spirals: spiral.png beside it)"
	@echo "Numbers          $(QUICKSTART)/evaluation/evaluation.json"
	@echo "SavedModel       $(EXPORTED)"
	@echo "TensorBoard      $(BIN)/tensorboard --logdir=$(QUICKSTART)"

test: $(INSTALLED)
	$(PYTEST)

# Builds and installs a wheel, and scans with it where there is no checkout.
test-wheel: $(INSTALLED)
	$(BIN)/python -m pytest -m slow tests/test_wheel.py

test-all: $(INSTALLED)
	$(PYTEST) -m ''

lint: $(INSTALLED)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

clean:
	rm -rf $(VENV) $(QUICKSTART) $(EXPORTED)
