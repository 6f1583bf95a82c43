# The two commands of the README are `make run` and `make test`; both set up what is missing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test build release install install-files fuzz format lint bench bench-discovery soak sim bench-gateway clean setup setup-tests bench-overload bench-connections bench-engines bench-swarm soak-swarm soak-failover

# One form for every release build: switching the static library on or off compiles everything anew.
RELEASE_FLAGS := -c release --static-swift-stdlib
BINARY := .build/release/igris-runtime
PYTHON := .venv/bin/python

help: ## Shows these targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: release ## Builds the release binary and serves with config.example.json5 (ARGS="--port 8081" adds flags).
	@exec $(BINARY) --config config.example.json5 $(ARGS)

test: setup-tests ## Unit tests, release build, end-to-end tests; ends with "N passed, N failed".
	@exec scripts/run-tests

build: setup ## Debug build.
	@scripts/swift build

release: setup ## Release build: .build/release/igris-runtime.
	@scripts/swift build $(RELEASE_FLAGS) --product igris-runtime

install: release install-files ## As a service of systemd (docs/service.md): /usr/local, /etc; needs root. DESTDIR=… elsewhere.

install-files:
	@install -D -m 755 -s $(BINARY) $(DESTDIR)/usr/local/bin/igris-runtime
	@install -D -m 644 packaging/igris-runtime.service $(DESTDIR)/etc/systemd/system/igris-runtime.service
	@install -D -m 644 -t $(DESTDIR)/usr/local/share/doc/igris-runtime docs/*.md SECURITY.md README.md
	@[ -e $(DESTDIR)/etc/igris-runtime/config.json5 ] || \
	    install -D -m 644 packaging/config.json5 $(DESTDIR)/etc/igris-runtime/config.json5

fuzz: ## libFuzzer on one input from outside (docs/fuzzing.md): TARGET=json MINUTES=30, TARGET=all.
	@exec scripts/fuzz $(or $(TARGET),all) $(or $(MINUTES),1)

format: ## Formats the Swift sources in place.
	@swift format --in-place --parallel --recursive --configuration .swift-format Package.swift Sources Tests

lint: ## Checks the format and what this code does without.
	@exec scripts/lint

bench: release setup-tests ## Prints the figures beside their goals.
	@scripts/swift build $(RELEASE_FLAGS) --product append-benchmark
	@exec $(PYTHON) Benchmarks/figures.py --binary $(BINARY) $(ARGS)

bench-swarm: release setup-tests ## Prints the swarm's figures beside their goals and beside redis, nats, etcd, serf.
	@scripts/get-peers .tools/peers || true
	@swift build $(RELEASE_FLAGS) --product swarm-simulator
	@exec $(PYTHON) Benchmarks/swarm.py --binary $(BINARY) $(ARGS)

bench-gateway: release setup-tests ## As a gateway beside nginx, smg, sglang-router, litellm; writes docs/benchmarks.md.
	@scripts/get-gateways .tools/gateways || true
	@exec $(PYTHON) Benchmarks/gateway.py --binary $(BINARY) --write docs/benchmarks.md $(ARGS)

bench-overload: release setup-tests ## Four times as much asked as one host can answer: who is accepted, how late, who is refused.
	@exec $(PYTHON) Benchmarks/overload.py --binary $(BINARY) $(ARGS)

bench-connections: release setup-tests ## 10,000 idle connections and 2,000 streams: memory, and that none fails.
	@$(PYTHON) Benchmarks/connections.py $(ARGS)

bench-engines: release setup-tests ## Tokens a second against llama-server itself, affinity, RPC workers, the router (LLAMA_DIR).
	@$(PYTHON) Benchmarks/direct.py
	@$(PYTHON) Benchmarks/affinity.py
	@$(PYTHON) Benchmarks/workers.py
	@scripts/swift build $(RELEASE_FLAGS) --product routing-benchmark
	@exec .build/release/routing-benchmark

bench-discovery: ## How long hosts take to find each other; needs root.
	@scripts/swift build $(RELEASE_FLAGS) --product discovery-benchmark
	@exec python3 Benchmarks/discovery.py $(ARGS)

soak: release setup-tests ## 600 kill -9 in a loop; no acknowledged turn may be lost.
	@IGRIS_KILLS=$${IGRIS_KILLS:-600} $(PYTHON) -m pytest -c Tests/EndToEnd/pytest.ini -s --timeout 7200 \
	    Tests/EndToEnd/test_restart.py -k kills

soak-swarm: release setup-tests ## 10 minutes of turns on three hosts that are killed; none acknowledged may be lost.
	@IGRIS_SOAK_SECONDS=$${IGRIS_SOAK_SECONDS:-600} $(PYTHON) -m pytest -c Tests/EndToEnd/pytest.ini -s \
	    Tests/EndToEnd/test_swarm_conversations.py -k mixed_traffic

soak-failover: release setup-tests ## 1,000 kills of hosts and engines in mid-answer; no answer may break.
	@IGRIS_KILLS=$${IGRIS_KILLS:-1000} $(PYTHON) -m pytest -c Tests/EndToEnd/pytest.ini -s --timeout 36000 \
	    Tests/EndToEnd/test_failover.py -k kills_in_a_loop

sim: setup ## Simulated swarms (docs/simulation.md): SEEDS=1000 START=1 SECONDS=60, also HOSTS, FAULTS, BUG.
	@scripts/swift build $(RELEASE_FLAGS) --product swarm-simulator
	@exec .build/release/swarm-simulator --seeds $(or $(SEEDS),1000) --start $(or $(START),1) \
	    --seconds $(or $(SECONDS),60) $(if $(HOSTS),--hosts $(HOSTS)) $(if $(FAULTS),--faults $(FAULTS)) \
	    $(if $(BUG),--bug $(BUG)) $(ARGS)

clean: ## Removes what was built (not .venv, .venv-litellm or .tools).
	@rm -rf .build

setup:
	@scripts/setup build

setup-tests:
	@scripts/setup test
