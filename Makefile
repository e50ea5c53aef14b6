# Few targets, each of which works on a fresh checkout. CONTRIBUTING.md says when to use which.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: test lint bench up fuzz crash soak tools cover vulncheck changelog

GO ?= go
# The linters' versions live in a module of their own, so that they are no dependency of ours.
TOOL := $(GO) tool -modfile=tools/go.mod
BERTH_TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/berth-tools
export BERTH_TOOLS

# The race detector needs a C compiler; go turns cgo off by itself where there is none.
RACE ?= $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)
# Of one package, not of the whole run.
TIMEOUT ?= 15m
FUZZTIME ?= 20s
# Read from the environment by bench, so that quotes in it survive.
PEER ?=
export PEER
BENCH ?=

# test installs the clients it needs, then runs every test with the race detector, then the linters.
test: tools
	$(GO) vet ./...
	$(if $(RACE),,@echo 'no C compiler: testing without the race detector')
	$(GO) test $(RACE) -timeout $(TIMEOUT) ./...
	$(MAKE) --no-print-directory lint

# lint checks the form of the code. internal/depcheck holds the project's own rules: dependencies, layers, file
# lengths, no init functions, no build tags, no paths of one machine.
lint:
	@unformatted=$$(gofmt -l .); if [[ -n $$unformatted ]]; then echo "gofmt these files:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) mod tidy -diff
	$(GO) test ./internal/depcheck
	$(TOOL) staticcheck ./...
	$(TOOL) errcheck ./...

# bench runs the benchmarks of the packages, then the same workloads on Berth, on the CNCF registry and on the
# registries of PEER, in turn; test/bench/doc.go says what PEER is. BENCH has options for it (BENCH=-h lists them);
# with BENCH=-quick it only shows that everything works.
bench:
	$(if $(findstring -quick,$(BENCH)),,$(GO) test -run '^$$' -bench . -benchmem ./...)
	test/tools/install.sh registry
	$(GO) build -o bin/berth ./cmd/berth
	$(GO) build -o bin/bench ./test/bench
	registry=$(BERTH_TOOLS)/bin/registry; bin/bench -berth bin/berth $$(if [[ -x $$registry ]]; then echo "-distribution $$registry"; fi) \
		-peers "$$PEER" -dir bin/bench-data -json bin/bench.json -markdown bin/bench.md $(BENCH)

# up starts the registry with the basic example applied, until Ctrl-C.
up:
	$(GO) run ./cmd/berth up examples/basic

# fuzz runs every fuzz target for FUZZTIME.
fuzz:
	FUZZTIME=$(FUZZTIME) test/tools/fuzz.sh

# crash kills the server N times, at its steps and at random, and checks what it had acknowledged. CRASH_SEED=… repeats
# the random ones of an earlier run.
N ?= 2000
crash:
	CRASH_KILLS=$(N) $(GO) test $(RACE) -count=1 -timeout 24h -v ./test/crash

# soak pushes, pulls, moves, deletes and collects for the time T, and looks for anything that gets lost.
T ?= 30m
soak:
	SOAK_TIME=$(T) $(GO) test $(RACE) -count=1 -timeout 24h -v ./test/soak

# tools installs the real clients that the tests drive. The first run takes some minutes, later ones none.
tools:
	test/tools/install.sh

cover:
	$(GO) test -timeout $(TIMEOUT) -coverpkg=./cmd/...,./internal/... -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out | tail -n 1

# vulncheck needs https://vuln.go.dev to be reachable, so it is no part of test.
vulncheck:
	$(TOOL) govulncheck ./...

# changelog VERSION=v1.2.3 moves the fragments in changes/unreleased into CHANGELOG.md.
changelog:
	changes/release.sh $(VERSION)
