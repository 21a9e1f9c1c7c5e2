# make run   set up and run everything on this machine
# make test  set up and pass all tests
# make help  the rest
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help run test lint bench faults soak clients clean lock audit

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/make \1\t\2/' | expand -t 12

run: .venv/run.stamp ## set up and run on an embedded PostgreSQL and an embedded Apache Kafka
	@exec $(BIN)/projectkeys dev

test: .venv/test.stamp ## set up and pass all tests
	@$(BIN)/pytest

lint: .venv/test.stamp ## style, types and the directions between the packages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/squawk --assume-in-transaction schema.sql
	@$(BIN)/squawk service/postgres/migrations/*.sql

bench: .venv/run.stamp ## measure the service beside baselines
	@exec $(BIN)/python -m bench

faults: .venv/run.stamp ## kill, pause and disconnect every part under load, and check the invariants
	@exec $(BIN)/python -m faults

soak: .venv/run.stamp ## a random fault every 20 seconds for half an hour (MINUTES=n); memory must not grow
	@exec $(BIN)/python -m faults.soak --minutes $(or $(MINUTES),30)

clients: .venv/run.stamp ## build the readers of docs/consumers.md in four languages and run them (npm, Maven, Go, Cargo)
	@exec $(BIN)/python -m testkit.clients

audit: .venv/audit/bin/pip-audit ## ask whether any locked version is known to be vulnerable
	@scripts/audit

clean: ## remove the environment, the data of `make run` and every cache
	rm -rf .venv .data .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: .venv/bin/uv ## resolve the hashed locks again
	@scripts/lock

.venv/bin/uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is needed; name one by: make PYTHON=python3.12 ...'; exit 1; }
	@$(PYTHON) -m venv .venv || { echo 'Python has no working venv module here (Debian: the package python3-venv).'; exit 1; }
	@echo 'Setting up .venv (once; some 100 MB are downloaded) ...'
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

.venv/audit/bin/pip-audit: requirements/audit.txt .venv/bin/uv
	@$(BIN)/uv venv --quiet --clear .venv/audit
	@VIRTUAL_ENV=.venv/audit $(BIN)/uv pip install --quiet --require-hashes -r $<
	@touch $@

.venv/%.stamp: requirements/%.txt pyproject.toml .venv/bin/uv
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --require-hashes -r $<
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
