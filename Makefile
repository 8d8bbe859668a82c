# Everything here starts from a bare clone: Python 3.10-3.12 with venv (3.13 for all but PyAirbyte), make, nothing else.
# PYTHON names an interpreter; without it, scripts/python finds one.
PYTHON ?=
VENV ?= .venv
CONFIG ?=
DATABASE ?=
PORT ?=
ARGS ?=
BIN := $(VENV)/bin

# make takes "config=x" for a variable that nothing reads.
$(foreach name,python venv config database port args,$(if $(filter command%,$(origin $(name))),\
  $(error Nothing reads $(name)=…; write it in capitals: $(shell echo $(name) | tr a-z A-Z)=…)))

.DEFAULT_GOAL := help
.PHONY: help sync sandbox unit test format lint lock package image bench clean

help:
	@echo "make sync     sync into a DuckDB file (CONFIG=path for the real API, DATABASE=path for another file)"
	@echo "make sandbox  serve Ravan's endpoint on loopback, over invented accounts (PORT=number for another port)"
	@echo "make unit     unit tests only; seconds, a minute the first time"
	@echo "make test     all tests, those of the image where docker or podman works; minutes (ARGS=\"-k …\" for some)"
	@echo "make format   put the code into shape"
	@echo "make lint     ruff, mypy, shellcheck, and whether the lock files are true; a minute the first time"
	@echo "make lock     write the lock files anew (ARGS=--upgrade for newer versions)"
	@echo "make package  build the wheel and the source distribution into dist/, check them, list what they need"
	@echo "make image    build the image with docker or podman; minutes the first time"
	@echo "make bench    every benchmark, see benchmarks/README.md; minutes"
	@echo "make clean    remove what these made; databases stay"
	@echo "The first call of each makes a virtual environment in $(VENV), which takes half a minute."
	@echo "PYTHON=python3.12 names the interpreter for it."

sync: $(VENV)/quickstart.done
	@$(BIN)/python -m quickstart $(if $(CONFIG),--config "$(CONFIG)") $(if $(DATABASE),--database "$(DATABASE)")

sandbox: $(VENV)/quickstart.done
	@$(BIN)/python -m sandbox $(if $(PORT),--port "$(PORT)")

unit: $(VENV)/unit.done
	@$(BIN)/python -m pytest --quiet unit_tests $(ARGS)

test: $(VENV)/tests.done
	@VENV="$(VENV)" scripts/test $(ARGS)

format: $(VENV)/tests.done
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

lint: $(VENV)/tests.done
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/shellcheck -x $$(grep -ls '^#!.*sh$$' .ci/* scripts/* scripts/shims/* examples/* integration_tests/*)
	@VENV="$(VENV)" scripts/lock --check

lock: $(VENV)/tests.done
	@VENV="$(VENV)" scripts/lock $(ARGS)

package: $(VENV)/tests.done
	@VENV="$(VENV)" scripts/package

image:
	@scripts/image

bench: $(VENV)/tests.done
	@$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .envs .python .image .coverage build dist *.egg-info

$(VENV)/%.done: pyproject.toml requirements-tests.lock
	@scripts/venv "$(PYTHON)" "$(VENV)" "$*"
	@touch "$@"
