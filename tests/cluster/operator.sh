#!/usr/bin/env bash
# Starts the operator beside a cluster that up.sh started, and waits until the API server really asks it. Safe to repeat.
#
# In:  DIR of the cluster; BINARY of the operator; further flags for `run`.
# Out: DIR/logs/operator.log; the operator runs until down.sh. On failure: the end of its log, and exit 1.
# Leaves to others: the cluster (up.sh), processes (process.sh), what the operator does.
set -euo pipefail
# shellcheck source=process.sh
source "$(dirname "${BASH_SOURCE[0]}")/process.sh"

patience=60 # seconds until admission and conversion answer; 3 are usual

say() { echo "cluster: $*" >&2; }

# provider MODE: a v1alpha1 manifest, which the API server has converted before it is stored.
provider() {
  printf '%s' '{"apiVersion":"mcp-hangar.io/v1alpha1","kind":"MCPProvider","metadata":{"name":"first-call"},' \
    '"spec":{"image":"example.com/none:1","mode":"'"$1"'"}}'
}

# answers: a bad object is refused by our words, a good one is converted.
answers() {
  local refusal
  refusal=$(provider contaner | "$kubectl" create --dry-run=server -f - 2>&1) && return 1
  [[ $refusal == *HGR102* ]] && provider container | "$kubectl" create --dry-run=server -f - >/dev/null 2>&1
}

(($# >= 2)) || { echo "usage: operator.sh DIR BINARY [FLAG...]" >&2; exit 2; }
dir=$(realpath -ms "$1")
binary=$(realpath "$2")
kubectl=$dir/bin/kubectl
export KUBECONFIG=$dir/kubeconfig
shift 2

lock_cluster
if alive operator && answers; then
  say "the operator is up already"
  exit 0
fi
launch operator "$binary" run --kubeconfig "$dir/kubeconfig" --log-format json --drain-minimum 0s --drain-quiet 200ms \
  --webhook-addr 127.0.0.1:0 --webhook-url https://127.0.0.1:0 --metrics-addr 127.0.0.1:0 --health-addr 127.0.0.1:0 "$@"
deadline=$((SECONDS + patience))
until answers; do
  if ! alive operator || ((SECONDS >= deadline)); then
    say "the operator does not answer; the end of its log:"
    tail -n 20 "$dir/logs/operator.log" >&2 || true
    stop operator 5
    exit 1
  fi
  sleep 0.2
done
say "the operator answers: admission and conversion, after $SECONDS s"
