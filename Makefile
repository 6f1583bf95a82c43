# The two commands of the README are `make run` and `make test`; both set up what is missing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test build release install install-files fuzz format lint bench bench-discovery crash failpoints soak soak-kills sim bench-gateway clean setup setup-tests bench-backup bench-overload bench-connections bench-engines bench-swarm soak-swarm soak-failover

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
	@$(PYTHON) -m pip install --quiet gguf==0.19.0
	@$(PYTHON) Benchmarks/direct.py
	@$(PYTHON) Benchmarks/affinity.py
	@$(PYTHON) Benchmarks/workers.py
	@scripts/swift build $(RELEASE_FLAGS) --product routing-benchmark
	@exec .build/release/routing-benchmark

bench-discovery: ## How long hosts take to find each other; needs root.
	@scripts/swift build $(RELEASE_FLAGS) --product discovery-benchmark
	@exec python3 Benchmarks/discovery.py $(ARGS)

bench-backup: release setup-tests ## A backup of 1 GiB: how long, and how long it makes others wait; a change of keys; a restore.
	@exec env IGRIS_BINARY=$(BINARY) $(PYTHON) Benchmarks/backup.py $(ARGS)

crash: setup ## The disk fails, or the power goes, at every step of 14 scenarios (docs/crash-safety.md): SEEDS=20.
	@scripts/swift build --build-tests
	@echo '| Scenario | Steps, failing once | failing for ever | power cut | Runs | Lost | Damaged |'
	@echo '|---|---|---|---|---|---|---|'
	@IGRIS_CRASH_SEEDS=$(or $(SEEDS),20) scripts/swift test --skip-build --disable-xctest --filter CrashConsistency \
	    | grep -vE '◇|↳|✔ Test case'

soak: release setup-tests ## A part of every reliability test within MINUTES=30, and the table (docs/reliability.md).
	@scripts/swift build $(RELEASE_FLAGS) --product swarm-simulator
	@scripts/get-fronts .tools/fronts || true
	@exec env IGRIS_BINARY=$(BINARY) $(PYTHON) Benchmarks/soak.py --minutes $(or $(MINUTES),30) $(ARGS)

soak-kills: release setup-tests ## KILLS=10000: several daemons killed at random moments; no acknowledged turn may be lost.
	@exec $(PYTHON) Tests/EndToEnd/soak_kills.py --binary $(BINARY) --kills $(or $(KILLS),10000) $(ARGS)

failpoints: build setup-tests ## A debug build dies at each of its named places, ROUNDS=100 times.
	@IGRIS_FAILPOINT_ROUNDS=$(or $(ROUNDS),100) $(PYTHON) -m pytest -c Tests/EndToEnd/pytest.ini -s \
	    Tests/EndToEnd/test_failpoints.py -k wherever

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
