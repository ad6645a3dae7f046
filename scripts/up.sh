#!/usr/bin/env bash
# `make up`: etcd, kube-apiserver and the operator on loopback, all three for real. Safe to repeat.
#
# In:  nothing, or CLUSTER_DIR for another place than target/cluster.
# Out: target/cluster/{kubeconfig,bin/kubectl}; the last two lines on stdout are the `export` lines for a shell.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=${CLUSTER_DIR:-target/cluster}

tests/cluster/build.sh >/dev/null
cargo build --quiet --package mcp-hangar-operator
exports=$(tests/cluster/up.sh "$dir")
# The binary may be rebuilt while it runs.
mkdir -p "$dir/bin"
cp --remove-destination target/debug/mcp-hangar-operator "$dir/bin/mcp-hangar-operator"
tests/cluster/operator.sh "$dir" "$dir/bin/mcp-hangar-operator"
echo "$exports"
