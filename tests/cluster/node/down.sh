#!/usr/bin/env bash
# Ends a node that up.sh started, its pods included, and removes all that up.sh made.
#
# In:  DIR, the cluster's folder. Out: nothing runs any more. Quiet and content when nothing did.
set -euo pipefail
# shellcheck source=state.sh
source "$(dirname "${BASH_SOURCE[0]}")/state.sh"

[[ $# == 1 && $1 != -* ]] || { echo "usage: down.sh DIR" >&2; exit 2; }
use_node "$(realpath -ms "$1")"
[[ -e $dir/$mark || -e $netns ]] || exit 0
lock_cluster
end_node
