# `make quickstart` and `make test` are all that a newcomer needs: both install what is missing first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DOCS := $(VENV)/.installed_docs
QUICKSTART := runs/quickstart
EXPORTED := savedmodels/quickstart/1
# Tests run in as many processes as there are cores; what a file shares is made once in each.
JOBS ?= auto
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: quickstart test test-all test-wheel lint docs clean
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

$(INSTALLED_DOCS): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

# The site: what it is made of is copied as it lies here, so that links lead where they do in files.
SITE := README.md CHANGELOG.md CONTRIBUTING.md CITATION.cff docs savedmodels/README.md $(wildcard savedmodels/*/README.md notebooks/*.ipynb)
docs: $(INSTALLED_DOCS)
	rm -rf build/docs
	mkdir -p build/docs
	tar cf - $(SITE) | tar xf - -C build/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "The site         build/site/index.html"

clean:
	rm -rf $(VENV) $(QUICKSTART) $(EXPORTED)
