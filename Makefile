# Every target works in a new clone. It needs only make and Python 3.10-3.12 with venv; 3.13 works without PyAirbyte.
# PYTHON names the interpreter; by default, scripts/python finds one.
PYTHON ?=
VENV ?= .venv
CONFIG ?=
DATABASE ?=
PORT ?=
ARGS ?=
BIN := $(VENV)/bin

# make would accept "config=x" silently and ignore it.
$(foreach name,python venv config database port args,$(if $(filter command%,$(origin $(name))),\
  $(error Unknown variable $(name)=…. Write it in capitals: $(shell echo $(name) | tr a-z A-Z)=…)))

.DEFAULT_GOAL := help
.PHONY: help sync sandbox unit test format lint lock package image bench clean

help:
	@echo "make sync     sync into a DuckDB file (CONFIG=path for the real API, DATABASE=path for another file)"
	@echo "make sandbox  serve an imitation of Ravan's API with invented accounts (PORT=number for another port)"
	@echo "make unit     run the unit tests; takes seconds, a minute the first time"
	@echo "make test     run all tests, those of the image with docker or podman; takes minutes (ARGS=\"-k …\" for some)"
	@echo "make format   format the code"
	@echo "make lint     run ruff, mypy and shellcheck, and check the lock files; takes a minute the first time"
	@echo "make lock     update the lock files (ARGS=--upgrade for newer versions)"
	@echo "make package  build and check the wheel and the source distribution in dist/, with an SBOM"
	@echo "make image    build the image with docker or podman; takes minutes the first time"
	@echo "make bench    run the benchmarks, see benchmarks/README.md; takes minutes"
	@echo "make clean    remove all files created by these targets, except databases"
	@echo "The first command creates a virtual environment in $(VENV), which takes half a minute."
	@echo "Set PYTHON=python3.12 to choose its interpreter."

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
