#!/usr/bin/env bash
# Writes beside each manifest here what kubectl says when it is applied: examples/rejected/record.sh [KUBECTL]
# Needs a cluster with the operator, its flags at their defaults, such as:
#   eval "$(make -s up)"
# Ends with 1 where a manifest was accepted; what that made is deleted again.
set -euo pipefail
cd "$(dirname "$0")/../.."
kubectl=${1:-kubectl}
failed=0
for manifest in examples/rejected/*.yaml; do
  answer=${manifest%.yaml}.txt
  if "$kubectl" apply -f "$manifest" 2>"$answer" >/dev/null; then
    echo "accepted: $manifest" >&2
    "$kubectl" delete -f "$manifest" --wait=false >/dev/null
    failed=1
  fi
done
exit "$failed"
