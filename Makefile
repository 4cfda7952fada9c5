# Everything sets itself up: a bare Python 3.11 (or later) and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test check pytest smoke docs benchmark clean

help:
	@echo "make demo       compare single, hard and soft sharing on bundled data, and write a report"
	@echo "make test       linters, types, import rules, and all tests"
	@echo "make smoke      every experiment at its smallest scale"
	@echo "make docs       build the documentation into site/"
	@echo "make benchmark  the quick form of every benchmark"

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,docs]'
	@touch $(READY)

demo: $(READY)
	rm -rf runs/demo
	$(BIN)/moduli run examples/demo.yaml --out runs/demo
	@echo "Open runs/demo/report.html in a browser."

test: check pytest

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

pytest: $(READY)
	$(BIN)/python -m pytest -n 2

smoke: $(READY)
	set -e; for script in experiments/[a-z]*_*.py; do $(BIN)/python $$script --scale smoke; done

docs: $(READY)
	$(BIN)/mkdocs build --strict --quiet

benchmark: $(READY)
	set -e; for script in $(filter-out benchmarks/harness.py,$(wildcard benchmarks/*.py)); do \
		$(BIN)/python $$script --quick; done

clean:
	rm -rf $(VENV) site .pytest_cache .ruff_cache
