# `make demo` and `make test` do all set-up themselves: they need Python 3.11 and nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test lint format install lock bench docs reference

demo: $(INSTALLED)  ## Train an agent that plans over skills, about ten minutes on two cores.
	$(BIN)/rllib train file tuned_examples/lsp-cartpole-swingup.yaml

test: lint  ## Everything that CI checks.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

bench: $(INSTALLED)  ## What an update, a decision, sampling and replay cost: a short form, minutes.
	$(BIN)/python benchmarks/bench_update.py --repeats 3
	$(BIN)/python benchmarks/bench_act.py --repeats 3
	$(BIN)/python benchmarks/bench_sampling.py --repeats 2
	$(BIN)/python benchmarks/bench_replay.py --repeats 3
	$(BIN)/python benchmarks/bench_train.py --seconds 30 --rounds 1

results-%: $(INSTALLED)  ## Train what is left of a study: results-point, -single, -quadruped, -tuning, -settings.
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/experiments.py benchmarks/experiments/$*.yaml
	$(BIN)/python benchmarks/experiment_tables.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)  ## The pages as a site: open site/index.html.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reference: $(INSTALLED)  ## Write docs/configuration.md anew, after a change of options.
	$(BIN)/python docs/generate_configuration.py

install: $(INSTALLED)

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

lock:  ## Pin what is installed now, after trying it with newer versions.
	$(BIN)/pip freeze --all --exclude-editable --exclude pip | sed 's/+cpu//' > requirements.lock
