#!/usr/bin/env bash
# Puts images into a node that up.sh started. Pods use them with imagePullPolicy Never or IfNotPresent.
#
# In:  ARCHIVE..., as `docker save` or scripts/image.sh write them; CLUSTER_DIR, the cluster's folder (target/cluster).
# Out: the images' names on stdout.
set -euo pipefail
# shellcheck source=state.sh
source "$(dirname "${BASH_SOURCE[0]}")/state.sh"

(($# > 0)) || { echo "usage: load.sh ARCHIVE..." >&2; exit 2; }
use_node "$(realpath -ms "${CLUSTER_DIR:-"$here/../../target/cluster"}")"
for archive; do
  inside ctr --namespace k8s.io images import - <"$archive" | sed -n 's/^unpacking \([^ ]*\).*/\1/p'
done
