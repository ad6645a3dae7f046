#!/usr/bin/env bash
# Installs the chart into a node that is up, or upgrades it, and waits until it answers.
#
# In:  DIR, the cluster's folder; IMAGE, which the node has from target/image/image.tar. A new archive under an old name rolls out, too.
# Out: release mcp-hangar-operator in namespace mcp-system, two replicas. On failure: what the cluster says about it, and exit 1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
(($# == 2)) || { echo "usage: install.sh DIR IMAGE" >&2; exit 2; }
dir=$(realpath -ms "$1") image=$2 release=mcp-hangar-operator namespace=mcp-system
export KUBECONFIG=$dir/node/kubeconfig
PATH=$dir/bin:$PATH

"$dir/bin/helm" upgrade --install "$release" charts/mcp-hangar-operator --namespace "$namespace" --create-namespace --wait --timeout 120s \
  --set replicaCount=2 --set image.repository="${image%:*}" --set image.tag="${image##*:}" --set image.pullPolicy=Never \
  --set-string podAnnotations.archive="$(sha256sum target/image/image.tar | cut -c1-16)" >&2 || {
  echo "install: the operator did not get ready; its pods, events and the end of its log:" >&2
  kubectl --namespace "$namespace" get pods --output wide >&2 || true
  kubectl --namespace "$namespace" get events --sort-by=.lastTimestamp 2>&1 | tail -n 20 >&2 || true
  kubectl --namespace "$namespace" logs --selector app.kubernetes.io/instance="$release" --tail 20 --prefix >&2 || true
  exit 1
}
