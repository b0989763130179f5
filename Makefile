.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test quick lint driver-suite kfp pictures clean

help: ## Say what each target does.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.installed ## Train, record and deploy with real Airflow, then show the lineage.
	@$(BIN)/python dags/run_demo.py

# All generated tests have one name, so that of those shared out to processes all but one would be lost.
GENERATED := tests/test_web_schemathesis.py

test: $(VENV)/.installed lint ## Run every test.
	$(BIN)/pytest -n auto --dist loadfile -m "not airflow" --ignore $(GENERATED)
	$(BIN)/pytest -m airflow --ignore $(GENERATED)
	$(BIN)/pytest $(GENERATED)

# Airflow, KFP and schemathesis take seconds to import in each process.
quick: $(VENV)/.installed ## Run the tests that take no Airflow, KFP and web application, in under a minute.
	$(BIN)/pytest -q -n auto --dist loadfile -m "not slow" -p no:schemathesis $(patsubst %,--ignore-glob='tests/test_%*',airflow_ dags kfp_ web_)

lint: $(VENV)/.installed ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

driver-suite: $(VENV)/.installed ## Run python-arango's own tests: make driver-suite DRIVER=path/to/python-arango
	tests/driver_suite.sh $(DRIVER)

kfp: $(VENV)/.installed ## Compile the published Kubeflow components anew.
	$(BIN)/arangopipe kfp compile kfp_components

pictures: $(VENV)/.installed ## Take the pictures of docs/web.md anew, with Chromium.
	PICTURES=docs/images $(BIN)/pytest -q tests/test_web_browser.py tests/test_web_browser_waiting.py tests/test_airflow_browser.py -k documentation

clean: ## Remove the environment and the demo's data.
	rm -rf $(VENV) .demo

# The environment holds the versions that were tested together; it is made anew when they change.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "arangopipe-ops needs Python 3.11 or later: make PYTHON=python3.11")'
	@echo "Installing into $(VENV) (about a minute, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
