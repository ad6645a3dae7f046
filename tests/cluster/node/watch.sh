#!/usr/bin/env bash
# Ends a node that nobody can end any more: its owner is gone, however that ended, or its folder was removed by hand. up.sh starts it.
#
# In:  DIR, the cluster's folder; optionally PID and start time of the owner.
# Out: nothing, or the end of the node.
set -euo pipefail
# shellcheck source=state.sh
source "$(dirname "${BASH_SOURCE[0]}")/state.sh"

main() {
  local owner=${2:-} since=${3:-}
  use_node "$1"
  exec 7<"$dir/$mark"
  while sleep 1; do
    # The folder may be removed, and even be another node's by now.
    if [[ ! $dir/$mark -ef /proc/self/fd/7 ]]; then
      [[ -e $dir/$mark ]] || end_node
      exit
    fi
    if [[ -n $owner && $(started_at "$owner") != "$since" ]]; then
      lock_cluster
      end_node
      exit
    fi
  done
}
main "$@" # in a function, so that all of it is read before the checkout can change
