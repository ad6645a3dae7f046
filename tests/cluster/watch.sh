#!/usr/bin/env bash
# Ends a cluster that nobody can end any more: its owner is gone, however that ended, or its folder was removed by hand. up.sh starts it.
#
# In:  DIR of the cluster; optionally PID and start time of the owner.
# Out: nothing, or the end of the cluster.
set -euo pipefail
# shellcheck source=process.sh
source "$(dirname "${BASH_SOURCE[0]}")/process.sh"

main() {
  dir=$1
  local owner=${2:-} since=${3:-} name pid start
  local -A known=()
  exec 7<"$dir/$mark"
  while sleep 1; do
    # The folder may be removed, and even be another cluster's by now: remember whom to end.
    [[ $dir/$mark -ef /proc/self/fd/7 ]] || break
    for name in etcd kube-apiserver operator; do
      if { read -r pid start <"$dir/pids/$name"; } 2>/dev/null; then known[$pid]=$start; fi
    done
    if [[ -n $owner && $(started_at "$owner") != "$since" ]]; then
      lock_cluster
      end_cluster
      rmdir "$dir" 2>/dev/null || true
      exit
    fi
  done
  for pid in "${!known[@]}"; do
    if [[ $(started_at "$pid") == "${known[$pid]}" ]]; then kill -KILL "$pid" 2>/dev/null || true; fi
  done
  exit
}
main "$@" # in a function, so that all of it is read before the checkout can change
