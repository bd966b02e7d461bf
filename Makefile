# SPDX-License-Identifier: Apache-2.0

.DEFAULT_GOAL := help

FUZZTIME ?= 30s

# Semantic, as notation wants the version of a plugin to be.
described := $(shell git describe --tags --match 'v[0-9]*' --always --dirty 2>/dev/null)
version := $(if $(filter v%,$(described)),$(described:v%=%),0.0.0-dev+$(or $(described),unknown))

# Go needs a home for its caches.
ifeq ($(HOME),)
export HOME := $(CURDIR)/.cache/home
endif

lint_tool := go tool -modfile=testenv/tools/lint/go.mod
actionlint := go tool -modfile=testenv/tools/actionlint/go.mod actionlint
gotestsum := go tool -modfile=testenv/tools/gotestsum/go.mod gotestsum

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install the missing packages, on Debian or Ubuntu
	@testenv/setup.sh

.PHONY: build
build: ## build the executables into bin/
	go build -trimpath -ldflags '-X main.version=$(version)' -o bin/ ./cmd/...

.PHONY: test
test: setup ## run all tests, with the race detector and real tokens and registries (about 10 min on two cores)
	@mkdir -p .cache
	@go build -o .cache/secretwatch ./testenv/secretwatch
	@testenv/progress.sh .cache/test.json \
		.cache/secretwatch -output .cache/test.json -- $(gotestsum) --format pkgname-and-test-fails --format-hide-empty-pkg --jsonfile .cache/test.json -- \
		-race -shuffle=on -timeout 45m ./...
	@! grep '"Action":"skip".*"Test":' .cache/test.json

.PHONY: test-quick
test-quick: setup ## run the tests that are not marked as long, without the race detector (about 2 min)
	@mkdir -p .cache
	@$(gotestsum) --format pkgname-and-test-fails --format-hide-empty-pkg --jsonfile .cache/test-quick.json -- -short -count=1 -vet=off ./...
	@slow=$$($(gotestsum) tool slowest --jsonfile .cache/test-quick.json --threshold 10s) && \
		{ test -z "$$slow" || printf '\n=== Over ten seconds\n%s\n' "$$slow"; }

.PHONY: lint
lint: setup ## run gofmt, go vet, staticcheck, govulncheck and actionlint
	@unformatted=$$(gofmt -l $$(go list -f '{{.Dir}}' ./...)); \
		test -z "$$unformatted" || { echo "gofmt would change: $$unformatted"; exit 1; }
	@go vet -tags snapshot ./...
	@for tool in notation-next distribution; do go -C testenv/tools/$$tool vet . || exit; done
	@$(lint_tool) staticcheck -tags snapshot ./...
	@$(actionlint)
	@out=$$($(lint_tool) govulncheck ./... 2>&1) || case $$out in \
		*"fetching vulnerabilities"*) echo "govulncheck: not checked, its database can't be reached" ;; \
		*) printf '%s\n' "$$out"; exit 1 ;; \
	esac

.PHONY: outdated
outdated: ## list the Go modules in use that have a newer version
	@go list -deps -test -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}' ./... | sort -u | \
		while read -r path version; do \
			newest=$$(go list -m -f '{{.Version}}' "$$path@latest" 2>/dev/null) || newest="unknown, its list of versions can't be read"; \
			[ "$$newest" = "$$version" ] || echo "$$path $$version: newest is $$newest"; \
		done

.PHONY: demo
demo: setup build ## sign and verify with keys on a token, and show what the registries store
	@go build -o .cache/lab ./testenv/lab
	@.cache/lab demo

.PHONY: lab
lab: setup build ## start a token, keys, registries and notation to try things with, until Ctrl-C
	@go build -o .cache/lab ./testenv/lab
	@exec .cache/lab keep

.PHONY: release-snapshot
release-snapshot: ## build the files of a release into dist/release, and test them (installs cross-compilers and emulators)
	@testenv/setup.sh gcc-aarch64-linux-gnu gcc-mingw-w64-x86-64 wine64 qemu-user curl jq rpm2cpio cpio
	@packaging/build.sh --snapshot
	@packaging/arm64.sh
	@packaging/emulate.sh true || echo "release-snapshot: the executables for arm64 are only started, and don't sign; the reason is above" >&2
	@go test -tags snapshot -count=1 -timeout 30m ./packaging

.PHONY: bench
bench: setup ## compare the speed of the plugin and the action with pkcs11-tool and notation
	@go test -run '^$$' -bench . ./cmd/...

.PHONY: performance
performance: ## run the benchmarks, and write docs/performance.md
	@mkdir -p .cache
	@go build -o .cache/figures ./testenv/figures
	@$(MAKE) -s bench | .cache/figures benchmarks docs/performance.md

.PHONY: fuzz
fuzz: setup ## run each fuzz target for FUZZTIME (default: 30s; with that, about 20 min)
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 0x $$package || exit; \
		done; \
	done

.PHONY: fault-matrix
fault-matrix: setup ## try the faults, and write docs/module-faults.md and docs/registry-faults.md (up to an hour)
	@go test -count=1 -run TestModuleFaults ./cmd/notation-pkcs11 -update
	@SOAK=1 go test -count=1 -run TestRegistryFaults -timeout 1h ./action -update

.PHONY: soak
soak: setup ## run the long forms of the tests and each fuzz target for 10 min, and write docs/soak.md (hours)
	@mkdir -p .cache
	@go build -o .cache/figures ./testenv/figures
	@{ SOAK=1 go test -v -count=1 -timeout 4h ./action/... ./cmd/... ; $(MAKE) -s fuzz FUZZTIME=10m; } 2>&1 | .cache/figures tallies docs/soak.md

.PHONY: clean
clean: ## delete what the other targets created in this checkout
	@test ! -e .cache || chmod -R u+w .cache
	@rm -rf bin dist .cache
