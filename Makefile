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
	$(BIN)/python -m launch.train_fields --flagfile=launch/flagfiles/fields_quickstart.cfg --workdir=$(QUICKSTART)
	test -d $(EXPORTED) || $(BIN)/python -m launch.export --workdir=$(QUICKSTART) --output=$(EXPORTED)
	$(BIN)/python -m launch.compare_fields --models=quickstart=$(QUICKSTART) --simulated=8 --validation_simulated=4 \
	  --coverages=0.0434 --seeds=0 --scans=farthest_points,jittered_grid,even,gradient,actor --output_dir=$(QUICKSTART)/comparison
	@echo
	@echo "Picture          $(QUICKSTART)/comparison/sheet.png (a scan unfolding: rounds.gif)"
	@echo "Numbers          $(QUICKSTART)/comparison/compare_fields.md"
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
