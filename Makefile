# Every target makes .venv where it is missing or older than pyproject.toml. Options go through ARGS: make demo ARGS="--table FILE".
# Another interpreter: make test PYTHON=/path/to/python3.12

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)
VENV := .venv
PEERS := .venv-peers
LITELLM := .venv-litellm
LEGACY := .venv-legacy
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo serve test test-legacy check bench bench-route bench-gateway bench-learning bench-planning bench-batteries bench-day-one bench-storage bench-refold bench-dashboard bench-evaluation soak-gateway soak-replicas clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/run.stamp ## watch it learn: the service over HTTP, scripted providers, about a minute, no keys
	@echo "demo: routes a minute's worth of tasks over HTTP on this machine; nothing leaves it"
	@$(PY) -m router.cli demo $(ARGS)

serve: $(VENV)/run.stamp ## serve the HTTP API on loopback (POINTSMAN_* variables and ARGS configure it)
	@echo "serve: the HTTP API, on loopback"
	@$(PY) -m router.cli serve $(ARGS)

test: $(VENV)/dev.stamp ## run the tests
	@echo "test: the whole suite; it opens no outside socket"
	@$(PY) -m pytest $(ARGS)

test-legacy: $(LEGACY)/legacy.stamp ## the adapter of the deprecated google-generativeai, in an environment of its own
	@echo "test-legacy: google-legacy with its real SDK against the stub"
	@$(LEGACY)/bin/python -m pytest tests/adapters/test_gemini_legacy.py $(ARGS)

check: ## everything that the continuous integration runs: lint, types, layers, tests
	@echo "check: lint, types, layers and tests, as in continuous integration"
	@.ci/run

bench: bench-route bench-gateway bench-learning bench-planning bench-batteries bench-storage bench-refold bench-dashboard bench-evaluation ## run every benchmark

bench-route: $(VENV)/dev.stamp ## requests per second of /v1/route beside a bare FastAPI route
	@echo "bench-route: /v1/route with durable logging beside a bare FastAPI route; load from wrk"
	@$(PY) -m benchmarks.route $(ARGS)

bench-gateway: $(VENV)/dev.stamp $(LITELLM)/litellm.stamp ## CPU and latency of a call through the gateway, beside LiteLLM's proxy and the direct call
	@echo "bench-gateway: chat completions through a local upstream, whole and streamed, beside LiteLLM's proxy and the direct call"
	@$(PIP) install --editable ".[openai]"
	@$(PY) -m benchmarks.gateway --litellm $(LITELLM) $(ARGS)

bench-storage: $(VENV)/dev.stamp ## durable decisions per second on SQLite and PostgreSQL, beside the raw limit of each
	@echo "bench-storage: 64 callers, each waiting for durability; the raw limit of the same database in the same run"
	@$(PY) -m benchmarks.storage $(ARGS)

bench-refold: $(VENV)/dev.stamp ## a log of 1,000,000 records folded from its start, and a restart over it (ARGS="--models 4 --types 3")
	@echo "bench-refold: writes a log of 1.5 GB in a temporary folder, proves that its fold is the one event by event, and starts the service over it"
	@$(PY) -m benchmarks.refold $(ARGS)

soak-replicas: $(VENV)/dev.stamp ## four services on one PostgreSQL: stopped, killed, cut off (ARGS="agree" runs one of agree, outage, kill, connections)
	@echo "soak-replicas: four services on one PostgreSQL under load and mischief; about ten minutes"
	@$(PIP) install --editable ".[openai]"
	@for scenario in $(or $(ARGS),agree outage connections kill); do $(PY) -m benchmarks.soak $$scenario || exit 1; done

soak-gateway: $(VENV)/dev.stamp ## a provider of three fails under load in every way, a minute each (ARGS="--seconds 10 --ways 500,cut")
	@echo "soak-gateway: failures, fallbacks, circuits and recoveries under load; about 20 minutes"
	@$(PIP) install --editable ".[openai]"
	@$(PY) -m benchmarks.gateway.soak $(ARGS)

bench-learning: $(PEERS)/peers.stamp ## the learner against its peers on recorded outcomes (ARGS="--quick" for three minutes)
	@echo "bench-learning: the learner and its peers on the same streams; results and picture in .bench/learning, resumable"
	@$(PEERS)/bin/python -m benchmarks.learning $(ARGS)

bench-planning: $(VENV)/dev.stamp ## seconds to plan 180 agents on 40 models
	@echo "bench-planning: a joint plan for 180 agents on 40 models, in groups and all different"
	@$(PY) -m benchmarks.planning $(ARGS)

bench-batteries: $(VENV)/dev.stamp ## every battery that ships, killed half-way and resumed, on local stand-ins with models of known quality
	@echo "bench-batteries: the providers' wire formats on loopback; intervals, order, skipped pairs and what it does to the first decisions"
	@$(PIP) install --editable ".[providers]"
	@$(PY) -m benchmarks.batteries $(ARGS)

bench-day-one: $(VENV)/dev.stamp ## regret of the first decisions with and without a battery of 20 per cell (ARGS="TABLE.parquet")
	@echo "bench-day-one: the same streams of recorded outcomes, cold and after a battery"
	@$(PY) -m benchmarks.day_one $(ARGS)

bench-dashboard: $(VENV)/dev.stamp ## first views of the dashboard on a log of 100,000 decisions, in a browser where there is one
	@echo "bench-dashboard: every page over HTTP and, with Chromium, drawn; no page may take a second"
	@$(PIP) install --editable ".[browser]"
	@$(PY) -m benchmarks.dashboard $(ARGS)

bench-evaluation: $(VENV)/dev.stamp ## do the intervals of evaluate and whatif hold the truth? (ARGS="--table TABLE.parquet", "--quick")
	@echo "bench-evaluation: 200 simulated logs; with --table, estimates beside true replays and what-ifs beside doing them"
	@$(PY) -m benchmarks.evaluation $(ARGS)

clean: ## remove the virtual environments
	@echo "clean: removes $(VENV), $(PEERS), $(LITELLM) and $(LEGACY)"
	@rm -rf $(VENV) $(PEERS) $(LITELLM) $(LEGACY)

$(PY):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=/path/to/python3"; exit 1; }
	@echo "set-up: a virtual environment in $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv $(VENV) || { echo "the venv module does not work: on Debian and Ubuntu install python3-venv"; rm -rf $(VENV); exit 1; }

$(VENV)/run.stamp: pyproject.toml | $(PY)
	@echo "set-up: pointsman and what it needs"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(PY)
	@echo "set-up: pointsman, what it needs, and what its tests need"
	@$(PIP) install --editable ".[dev]"
	@touch $(VENV)/run.stamp $@

$(LITELLM)/litellm.stamp: benchmarks/gateway/litellm.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=/path/to/python3"; exit 1; }
	@echo "set-up: LiteLLM's proxy in $(LITELLM), apart from the service: it holds openai below 3"
	@test -x $(LITELLM)/bin/python || "$(PYTHON)" -m venv $(LITELLM)
	@$(LITELLM)/bin/python -m pip --disable-pip-version-check --quiet install -r benchmarks/gateway/litellm.txt
	@touch $@

$(LEGACY)/legacy.stamp: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=/path/to/python3"; exit 1; }
	@echo "set-up: google-generativeai in $(LEGACY), apart from the service: it holds protobuf below 6"
	@test -x $(LEGACY)/bin/python || "$(PYTHON)" -m venv $(LEGACY)
	@$(LEGACY)/bin/python -m pip --disable-pip-version-check --quiet install --editable ".[dev,gemini-legacy]"
	@touch $@

$(PEERS)/peers.stamp: pyproject.toml benchmarks/learning/peers.txt benchmarks/learning/peers-compiled.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=/path/to/python3"; exit 1; }
	@echo "set-up: the peers in $(PEERS), apart from the service"
	@test -x $(PEERS)/bin/python || "$(PYTHON)" -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install --editable . -r benchmarks/learning/peers.txt
	@$(PEERS)/bin/python -m pip --disable-pip-version-check --quiet install -r benchmarks/learning/peers-compiled.txt \
		|| echo "set-up: contextualbandits did not build (it needs a C compiler); the benchmark goes on without it"
	@touch $@
