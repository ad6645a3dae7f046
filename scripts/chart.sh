#!/usr/bin/env bash
# `make chart-package` and a part of `make generate`: what is made from the charts by Helm.
#
# In:  package | manifest; the charts; XDG_CACHE_HOME, where Helm is found or built (tests/cluster/node/build.sh --helm).
# Out: package: target/charts/ with an archive of each chart and index.yaml, whose links are relative: any web server can serve it.
#      manifest: deploy/operator.yaml, the operator's chart with its defaults in mcp-system, as one file for `kubectl apply -f`.
# Leaves to others: the generated parts of the charts (`mcp-hangar-operator charts`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { echo "chart: $*" >&2; }

# helm ARGS...: with nothing of the user's own configuration.
helm() {
  HELM_CACHE_HOME=target/helm/cache HELM_CONFIG_HOME=target/helm/config HELM_DATA_HOME=target/helm/data KUBECONFIG=/dev/null \
    "$programs/helm" "$@"
}

package() {
  local stage=target/charts.new chart
  rm -rf "$stage"
  mkdir -p "$stage"
  for chart in mcp-hangar-operator mcp-hangar-crds; do
    helm package "charts/$chart" --destination "$stage" >&2
  done
  helm repo index "$stage"
  rm -rf target/charts
  mv -T "$stage" target/charts
  say "wrote $(cd target/charts && echo ./*) to target/charts"
}

# manifest: what only Helm needs is left out, so that nothing claims to be Helm's.
manifest() {
  local out=deploy/operator.yaml
  {
    cat <<'END'
# Generated from charts/mcp-hangar-operator by `make generate`; changes made here are lost.
# The operator with its CRDs and webhooks in mcp-system: kubectl apply -f deploy/operator.yaml
---
apiVersion: v1
kind: Namespace
metadata:
  name: mcp-system
  labels:
    app.kubernetes.io/part-of: mcp-hangar
    pod-security.kubernetes.io/enforce: restricted
END
    helm template mcp-hangar-operator charts/mcp-hangar-operator --namespace mcp-system --skip-tests --set crds.keep=false |
      sed -e '/^ *helm\.sh\/chart: /d' -e '/^ *app\.kubernetes\.io\/managed-by: Helm$/d' -e '/^# Source: /d'
  } >"$out.new"
  mv "$out.new" "$out"
}

action=${1:-}
[[ $action == package || $action == manifest ]] || { echo "usage: chart.sh package|manifest" >&2; exit 2; }
programs=$(tests/cluster/node/build.sh --helm)
"$action"
