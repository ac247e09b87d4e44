# Everything people do by hand. `make` alone lists it.

# Recordings, CRDs and the advisory database that the tests read.
export HEADGATE_SHARED ?= $(abspath ../shared)

CARGO ?= cargo
CRDS := policysources policygrants

.DEFAULT_GOAL := help

.PHONY: help
help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build headgate, optimised, as target/release/headgate
	$(CARGO) build --release

.PHONY: test
test: ## Run every test, those against a real control plane too (the first time it is built from source)
	$(CARGO) test --workspace

.PHONY: bench
bench: ## Measure canonical forms, snapshots and answers, as ratios to parsing the same JSON
	$(CARGO) bench --bench policy --bench snapshot --bench webhook

.PHONY: bench-git
bench-git: ## Measure one changed file of ten thousand, and what a poll costs a Git server
	$(CARGO) bench --bench fetch --bench poll

.PHONY: bench-cluster
bench-cluster: ## Measure the sync loop and pushes on a real control plane, as ratios to bare clients (ten minutes)
	$(CARGO) bench --bench heal --bench scale --bench freshness

.PHONY: demo
demo: ## Show Headgate at work on a real control plane
	$(CARGO) build --bin headgate --example demo
	$(CARGO) run --quiet --example demo

.PHONY: demo-check
demo-check: ## Run the demonstration without a pause and check each step
	$(CARGO) build --bin headgate --example demo
	$(CARGO) run --quiet --example demo -- --check

.PHONY: lint
lint: fmt-check clippy ## Check formatting and run clippy

.PHONY: fmt-check
fmt-check:
	$(CARGO) fmt --all --check

.PHONY: clippy
clippy:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt --all

.PHONY: deny
deny: ## Check the dependencies: licences, bans, sources, advisories
	.ci/cargo-deny

.PHONY: generate
generate: crds ## Write again what is generated

# By way of a file beside it: a build that fails leaves the old one as it was.
.PHONY: crds
crds: ## Write the chart's CustomResourceDefinitions
	@for name in $(CRDS); do \
		file=charts/headgate/files/$$name.headgate.dev.yaml; \
		$(CARGO) run --quiet -- crds $$name > $$file.new && mv $$file.new $$file || { rm -f $$file.new; exit 1; }; \
	done

.PHONY: certs-dev
certs-dev: ## Make certificates for development, in certs-dev/
	$(CARGO) run --quiet -- certs --out certs-dev --force --dns localhost --ip 127.0.0.1

.PHONY: image
image: ## Build the container image, as headgate:dev
	docker build --tag headgate:dev .

.PHONY: ci
ci: ## Run what a change has to pass
	.ci/run
