# Everything a person or CI does here. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
IMG ?=
RUN_ARGS ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## The tour: a real API server, the examples, what is refused and why; ends everything again
	@scripts/demo.sh

.PHONY: test
test: ## All tests: rules, conversion, the server over TLS, and kubectl against a real API server
	@tests/cluster/build.sh >/dev/null
	cargo test --workspace --no-fail-fast

.PHONY: test-node
test-node: ## The end-to-end tests on a whole node: pods, Services, the chart (TEST_ARGS names some)
	@scripts/test-node.sh $(TEST_ARGS)

.PHONY: up
up: ## Start etcd, kube-apiserver and the operator on loopback, or with NODE=1 a whole node with the chart; prints the export lines last
	@NODE=$(NODE) scripts/up.sh

.PHONY: down
down: ## End what `make up` started
	@scripts/down.sh

.PHONY: run
run: ## Run the operator in the foreground against the current kubeconfig (RUN_ARGS for more flags)
	@# KUBECONFIG may be a list, which the operator reads itself.
	@[[ -n $${KUBECONFIG:-} ]] || set -- --kubeconfig "$$HOME/.kube/config"; \
	set -x; exec cargo run --package mcp-hangar-operator -- run "$$@" \
	  --webhook-addr 127.0.0.1:9443 --webhook-url https://127.0.0.1:9443 $(RUN_ARGS)

.PHONY: lint
lint: ## Formatter, clippy with warnings denied, each crate on its own, scripts
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --test node -- -D warnings
	cargo check --quiet --package mcp-hangar-api
	cargo check --quiet --package mcp-hangar-webhooks
	@if command -v shellcheck >/dev/null; then shellcheck -x -P SCRIPTDIR scripts/*.sh tests/cluster/*.sh tests/cluster/node/*.sh tests/servers/*.sh .ci/run; else echo "shellcheck is not installed: scripts not checked"; fi
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; else echo "cargo-deny is not installed: dependencies not checked"; fi

.PHONY: bench
bench: ## What webhooks, providers, groups and discovery cost, against a bare server and through a real API server (BENCH_ARGS names parts); ends in 7 minutes
	cargo bench --bench webhooks -- $(BENCH_ARGS)

.PHONY: bench-groups
bench-groups: ## What one change of a provider costs among 10,000 providers and 500 groups (BENCH_ARGS names a part); ends in a minute
	cargo bench --bench selection -- $(BENCH_ARGS)

.PHONY: bench-discovery
bench-discovery: ## What a look at a discovery source costs beside its calls (BENCH_ARGS names a part); ends in a minute
	cargo bench --bench discovery -- $(BENCH_ARGS)

.PHONY: abuse
abuse: ## Attack the webhook server in every way we know (ABUSE_ARGS names some): failed calls, latency, memory; ends in 5 minutes
	cargo bench --bench abuse -- $(ABUSE_ARGS)

.PHONY: soak
soak: ## Mixed load for SECONDS (600) with a new leaf every 3 seconds: failed calls and memory
	cargo bench --bench abuse -- soak $(or $(SECONDS),600)

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZ_SECONDS (20), or those in FUZZ_TARGETS
	@fuzz/run.sh

.PHONY: generate
generate: ## Write deploy/, docs/rules.md, the states in docs/provider.md, the generated parts of the charts and the compiled schemas from the code
	UPDATE=1 cargo test --quiet --package mcp-hangar-webhooks --lib the_compiled_schemas >/dev/null
	cargo run --quiet --package mcp-hangar-operator -- crds --dir deploy/crds
	cargo run --quiet --package mcp-hangar-operator -- explain --markdown > docs/rules.md
	UPDATE=1 cargo test --quiet --package mcp-hangar-operator --lib the_documented_states >/dev/null
	cargo run --quiet --package mcp-hangar-operator -- charts --dir charts
	@scripts/chart.sh manifest
	UPDATE=1 cargo test --quiet --test chart the_table_of_values >/dev/null

.PHONY: chart-package
chart-package: ## Archives and index of both charts in target/charts, for `helm repo add`
	@scripts/chart.sh package

.PHONY: docker-build
docker-build: ## Build the image IMG, or an archive where no builder is there
	@scripts/image.sh build "$(IMG)"

.PHONY: docker-push
docker-push: ## Push the image IMG
	@scripts/image.sh push "$(IMG)"
