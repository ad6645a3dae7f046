#!/usr/bin/env bash
# `make up`: etcd, kube-apiserver and the operator on loopback, all three for real. With NODE=1 a whole node, and the operator in it by the chart.
# Safe to repeat.
#
# In:  CLUSTER_DIR for another place than target/cluster; NODE=1; with it NODE_IMAGE (mcp-hangar-operator:node), IMAGE_PROFILE (see image.sh).
# Out: target/cluster/{kubeconfig,bin/kubectl}, with NODE=1 target/cluster/node/kubeconfig and bin/{kubectl,helm,helm3,in-node};
#      the last two lines on stdout are the `export` lines for a shell.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=${CLUSTER_DIR:-target/cluster}

beside_the_api_server() {
  tests/cluster/build.sh >/dev/null
  cargo build --quiet --package mcp-hangar-operator
  exports=$(tests/cluster/up.sh "$dir")
  # The binary may be rebuilt while it runs.
  mkdir -p "$dir/bin"
  cp --remove-destination target/debug/mcp-hangar-operator "$dir/bin/mcp-hangar-operator"
  tests/cluster/operator.sh "$dir" "$dir/bin/mcp-hangar-operator"
}

in_the_node() {
  local image=${NODE_IMAGE:-mcp-hangar-operator:node}
  [[ $(id -u) == 0 ]] || { echo "up: a node needs root: namespaces, mounts and control groups" >&2; exit 1; }
  tests/cluster/node/build.sh >/dev/null
  scripts/image.sh archive "$image"
  exports=$(tests/cluster/node/up.sh "$dir")
  CLUSTER_DIR=$dir tests/cluster/node/load.sh target/image/image.tar >&2
  scripts/install.sh "$dir" "$image"
}

if [[ ${NODE:-} == 1 ]]; then in_the_node; else beside_the_api_server; fi
echo "$exports"
