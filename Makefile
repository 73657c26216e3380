# pgloom: every job that a developer or CI does, one target each. `make` alone prints this list.
# Variables: T (name of a test, or part of it), ARGS (passed on to the program).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup build demo test test-one oracle chaos soak faults measure-faults bench bench-scatter bench-copy bench-overload bench-relay bench-idle bench-growth bench-logins bench-micro instructions check-deploy fmt lint deny fuzz release release-fast sbom check clean

help: ## print this list
	@echo "pgloom: make <target>"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## install what is missing (Postgres, a C compiler, cargo-nextest); nothing to do: returns at once
	@scripts/setup test

build: ## build the pgloom binary, quickly compiled but optimised (target/quick/pgloom)
	@scripts/setup build
	cargo build --profile quick --bin pgloom

demo: ## start 4 local Postgres shards and pgloom over them, with sample data; Ctrl-C ends it (ARGS="--shards 8")
	@scripts/setup demo
	cargo build --profile quick --bin pgloom
	@exec target/quick/pgloom demo $(ARGS)

test: ## all that must pass: format, clippy, unit, end-to-end and README tests, doc tests
	@scripts/setup test
	@scripts/test

test-one: ## one test by (part of) its name: make test-one T=merge_emits_nothing
	@scripts/setup test
	@scripts/test one "$(T)" $(ARGS)

oracle: ## only the comparison with one Postgres: the hand-written statements and 20,000 generated ones (PGLOOM_ORACLE_N=500: fewer)
	@scripts/setup test
	@scripts/test oracle $(ARGS)

chaos: ## 30 rounds of money transfers while shards and routers are killed, frozen and restarted (PGLOOM_CHAOS_ROUNDS=5: fewer)
	@scripts/setup test
	@scripts/test chaos $(ARGS)

soak: ## 10,000 idle and 5,000 active clients over 64 server connections, alone and beside abusers, for 30 minutes (SECONDS=60 IDLE=500 ACTIVE=100: less)
	@scripts/setup test
	@LENGTH="$(SECONDS)" scripts/soak $(ARGS)

faults: ## what clients see of a network that fails: delays, drops, resets, cut cables, slow bytes; figures for each
	@scripts/setup test
	@scripts/test faults $(ARGS)

measure-faults: ## servers, routers and members of etcd killed, frozen and restarted, a change of the map to ten routers: figures for each (ARGS="servers")
	@scripts/setup test
	@scripts/measure-faults $(ARGS)

bench: ## pgbench directly, through PgBouncer and through pgloom: ratios and CPU a query (about 3 minutes)
	@scripts/setup bench
	@scripts/bench $(ARGS)

bench-scatter: ## questions over several shards through pgloom, beside a coordinator Postgres over the same shards (ROWS=20000 ROUNDS=1: a short run)
	@scripts/setup bench
	@scripts/bench-scatter $(ARGS)

bench-copy: ## COPY FROM directly and cut by key: rows a second, the router's CPU for a row (ROWS=200000 ROUNDS=1: a short run)
	@scripts/setup bench
	@scripts/bench-copy $(ARGS)

bench-overload: ## answers in time at one and at four times the load that can be served, in one run (ROUNDS=1 PROFILE=dev: a short run)
	@scripts/setup test
	@scripts/bench-overload $(ARGS)

bench-relay: ## what a bare byte relay costs on each tokio runtime, beside PgBouncer
	@scripts/setup bench
	@scripts/bench-relay $(ARGS)

bench-idle: ## what an idle client takes of the router's memory
	@scripts/setup instructions
	@scripts/bench-idle

bench-growth: ## what a statement costs the router among many clients and many other statements
	@scripts/setup bench
	@scripts/bench-growth

bench-logins: ## what a login and TLS cost the router, beside PgBouncer
	@scripts/setup bench
	@scripts/bench-logins

bench-micro: ## criterion benchmarks of the pure parts (ARGS=name of one)
	@scripts/setup build
	cargo bench --benches -- $(ARGS)

instructions: ## instructions and allocations of a routed point read, compared with benches/instructions.txt (UPDATE=1 writes that anew)
	@scripts/setup instructions
	@scripts/instructions

check-deploy: ## what is in deploy/: alerts, dashboard, image, compose file, manifests, unit
	@scripts/setup test
	@scripts/check-deploy

fmt: ## format the source
	cargo fmt --all

lint: ## clippy with warnings as errors
	cargo clippy --all-targets --locked -- -D warnings

deny: ## licences, sources and known vulnerabilities of the dependencies, by cargo-deny (ARGS="check licenses": less)
	@scripts/setup deny
	@scripts/deny $(ARGS)

fuzz: ## libFuzzer on every target, SECONDS_EACH=60 each; T=copy: one of them; MERGE=1: keep what reached something new
	@scripts/setup fuzz
	@scripts/fuzz $(T)

release: ## the program as it is given away, with its bill of materials and sums (target/release)
	@scripts/setup release
	@scripts/release

release-fast: ## the same, its machine code laid out by what a training run has shown to be hot (target/release-fast)
	@scripts/setup release-fast
	@FAST=1 scripts/release

sbom: ## the bill of materials alone, on standard output (CycloneDX)
	@scripts/sbom

check: ## type-check everything, the fastest answer while editing
	cargo check --all-targets

clean: ## remove what was built, and the demo's data in .demo
	cargo clean
	rm -rf .demo
