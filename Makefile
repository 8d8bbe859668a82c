# Everything here starts from a bare clone: Python 3.10-3.12 with venv, make, and nothing else.
PYTHON ?= python3
VENV ?= .venv
CONFIG ?=
DATABASE ?=
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help sync test lint sandbox image bench clean

help:
	@echo "make sync     sync into a DuckDB file (CONFIG=path for the real API, DATABASE=path for another file)"
	@echo "make test     unit tests, integration tests, and the image's where docker or podman is there"
	@echo "make sandbox  serve Ravan's endpoint on loopback, over invented accounts"
	@echo "make image    build the image with docker or podman"
	@echo "make lint     ruff and mypy"
	@echo "make bench    every benchmark; see benchmarks/README.md"

sync: $(VENV)/quickstart.done
	@$(BIN)/python -m quickstart $(if $(CONFIG),--config "$(CONFIG)") $(if $(DATABASE),--database "$(DATABASE)")

sandbox: $(VENV)/quickstart.done
	@$(BIN)/python -m sandbox

test: $(VENV)/tests.done
	@scripts/postgres
	@scripts/test-image
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(VENV)/tests.done
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@VENV="$(VENV)" scripts/lock --check

image:
	@scripts/image

bench: $(VENV)/tests.done
	@$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .image

$(VENV)/%.done: setup.py
	@scripts/venv "$(PYTHON)" "$(VENV)" "$*"
	@touch "$@"
