#!/usr/bin/env bash
# The processes of a pod, as pids of this machine: for tests that stop or kill them.
#
# In:  NAMESPACE POD; CLUSTER_DIR, the cluster's folder (target/cluster).
# Out: a pid a line on stdout, without the pause process; exit 1 where none runs.
set -euo pipefail
# shellcheck source=state.sh
source "$(dirname "${BASH_SOURCE[0]}")/state.sh"

(($# == 2)) || { echo "usage: pids.sh NAMESPACE POD" >&2; exit 2; }
use_node "$(realpath -ms "${CLUSTER_DIR:-"$here/../../target/cluster"}")"
found=1
while read -r container; do
  while read -r pid; do
    echo "$pid"
    found=0
  done < <(find "$(tracker)$group" -type d -name "*${container##*/}*" -exec cat {}/cgroup.procs \; 2>/dev/null)
done < <("$cluster/bin/kubectl" --kubeconfig "$dir/kubeconfig" --namespace "$1" get pod "$2" \
  --output 'jsonpath={range .status.containerStatuses[*]}{.containerID}{"\n"}{end}')
exit "$found"
