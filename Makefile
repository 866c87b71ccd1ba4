# Sets up, shows and tests harness inside .venv; `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
LOCK := constraints.txt setup.cfg pyproject.toml $(wildcard third_party/*/*.toml third_party/*/*.py)

KILLS ?= 200
STEPS ?= 5000

.PHONY: help setup demo test scenes docs torture soak speed results clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.installed  ## create .venv with the pinned packages and detectron2 (minutes, once)

demo: setup  ## pre-train with one strategy, fine-tune detectron2 and print Table A1, on the embedded data
	@$(BIN)/harness run --strategy location
	@$(BIN)/harness table A1
	@echo
	@echo "next: $(BIN)/harness runs"
	@echo "      $(BIN)/harness table A1 --results results/demo   (three seeds of every row, recorded by us)"
	@echo "      $(BIN)/harness reproduce A1                      (your own, about an hour on two cores)"

test: $(VENV)/.installed-dev  ## run ruff, mypy and pytest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile

docs: $(VENV)/.installed-dev  ## build the documentation into docs/_build/html
	@$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html
	@echo docs/_build/html/index.html

scenes:  ## compose scenes under the oldest and the newest numpy and Pillow, and compare them with the golden ones
	@oldest=$$(sed -n '/^numpy>=/s/>=/==/p; /^pillow>=/s/>=/==/p' requirements.txt); \
	for pins in "$$oldest" "numpy pillow"; do \
	    folder=$$(mktemp -d) && $(PYTHON) -m venv $$folder && \
	    $$folder/bin/python -m pip install --quiet --disable-pip-version-check $$pins defusedxml tqdm && \
	    $$folder/bin/python -m tests.scenes; status=$$?; rm -rf "$$folder"; [ $$status -eq 0 ] || exit $$status; done

torture: setup  ## kill tiny runs KILLS times (200), let them go on and compare them with ones left alone
	@OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.torture $(KILLS)

soak: setup  ## watch the memory and the open files of a pre-training of STEPS (5000)
	@OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.torture --soak $(STEPS)

speed: setup  ## time all against others' ways (PARTS="step start": only these)
	@$(BIN)/python -W ignore -m tests.speed $(PARTS)

results: setup  ## write the tables, plots and quoted outputs of our demo records anew
	@mkdir -p results/demo/tables
	@for table in A1 A2 gauges; do for kind in md csv; do \
	    $(BIN)/harness table $$table --format $$kind --results results/demo > results/demo/tables/$$table.$$kind; done; \
	    $(BIN)/harness plot $$table --results results/demo; done
	@$(BIN)/harness plot A1 --against gauges --results results/demo
	@$(BIN)/harness plot A1 --against SimSiam --results results/demo
	@for table in A1 A2; do for score in AP AP50; do \
	    $(BIN)/harness claims $$table --score $$score --format md --results results/demo \
	        > results/demo/tables/claims-$$table-$$score.md; done; done
	@$(BIN)/harness report --results results/demo --figures results/plots --out results/demo/report.html
	@$(BIN)/python -m docs.outputs

clean:  ## remove .venv, caches and generated data; results stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .cache docs/_build docs/generated *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

# A stamp is written last, so that a failed or interrupted installation is taken up again by the next call.
$(VENV)/.installed: requirements.txt $(LOCK)
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "$(PYTHON) is not Python 3.11 or newer with venv: apt-get install python3-venv, or make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Installing into $(VENV): torch is large, this takes minutes."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --requirement requirements.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	@$(PIP) --requirement requirements-dev.txt
	@touch $@
