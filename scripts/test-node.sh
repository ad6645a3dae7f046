#!/usr/bin/env bash
# `make test-node`: the tests in tests/node.rs on a whole node of their own, which is ended again, whatever happens.
#
# In:  arguments for the test program (names of tests, --nocapture); NODE_IMAGE, IMAGE_PROFILE as in up.sh; KEEP_NODE=1: leave the node running.
# Out: the tests' exit code; what they print also in target/test-node.log. When they fail, the logs of the node and its pods are kept in
#      target/test-node-logs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CLUSTER_DIR=${CLUSTER_DIR:-$PWD/target/test-node} NODE_IMAGE=${NODE_IMAGE:-mcp-hangar-operator:node}
logs=target/test-node-logs said=target/test-node.log
say() { echo "test-node: $*" >&2; }

end() {
  local went=$?
  trap - EXIT INT TERM
  if ((went != 0)) && [[ -d $CLUSTER_DIR/node/logs ]]; then
    rm -rf "$logs"
    mkdir -p "$logs"
    cp -r "$CLUSTER_DIR/node/logs" "$logs/programs"
    cp -rL "$CLUSTER_DIR/node/root/var/log/pods" "$logs/pods" 2>/dev/null || true
    "$CLUSTER_DIR/bin/kubectl" --kubeconfig "$CLUSTER_DIR/node/kubeconfig" get events --all-namespaces --sort-by=.lastTimestamp >"$logs/events.txt" 2>&1 || true
    say "failed; logs of the node and its pods: $logs"
  fi
  [[ -n ${KEEP_NODE:-} ]] || tests/cluster/node/down.sh "$CLUSTER_DIR" || went=1
  exit "$went"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

[[ $(id -u) == 0 ]] || { say "a node needs root: namespaces, mounts and control groups"; exit 1; }
tests/cluster/node/build.sh >/dev/null
scripts/image.sh archive "$NODE_IMAGE"
cargo test --no-run --test node
owner=(--owner $$) # it ends with us, also when we are killed
[[ -z ${KEEP_NODE:-} ]] || owner=()
eval "$(tests/cluster/node/up.sh "$CLUSTER_DIR" "${owner[@]}")"
tests/cluster/node/load.sh target/image/image.tar >&2
say "the node is up after $SECONDS s"
# The tests run in the node's network.
host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
env "CARGO_TARGET_${host}_RUNNER=$CLUSTER_DIR/bin/in-node" cargo test --test node -- --test-threads=1 "$@" | tee "$said"
say "done after $SECONDS s"
