#!/usr/bin/env bash
# Ends a cluster that up.sh started, and removes all that up.sh made.
#
# In:  DIR, the cluster's folder; --apiserver: end only the API server and keep its data and port for the next up.sh.
# Out: nothing runs any more. Quiet and content when nothing did.
set -euo pipefail
# shellcheck source=process.sh
source "$(dirname "${BASH_SOURCE[0]}")/process.sh"

dir='' only=''
while (($# > 0)); do
  case $1 in
    --apiserver) only=kube-apiserver ;;
    -*) dir=''; break ;;
    *) dir=$(realpath -ms "$1") ;;
  esac
  shift
done
[[ -n $dir ]] || { echo "usage: down.sh DIR [--apiserver]" >&2; exit 2; }

[[ -e $dir/$mark ]] || exit 0
lock_cluster
if [[ -n $only ]]; then
  stop "$only" 10
else
  end_cluster
  rmdir "$dir" 2>/dev/null || true
fi
