# shellcheck shell=bash disable=SC2034,SC2154
# The processes of one cluster, for up.sh, down.sh and watch.sh to source.
#
# In:  $dir, the cluster's folder (absolute).
# Out: launch, alive, stop, end_cluster, lock_cluster. A process is known by its pid and its start time, kept in $dir/pids/NAME,
#      so that a pid which the kernel has given to somebody else is never signalled.
# Leaves to others: which programs there are and with which flags (up.sh).

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mark=.mcp-hangar-cluster                              # says that the folder is ours
made=(bin certs data kubeconfig logs pids port tokens.csv) # all that up.sh makes in it; bin first

# started_at PID: its start time in clock ticks since boot; nothing for a process that is gone or a zombie.
started_at() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  local -a field
  read -ra field <<<"${stat##*) }" # what follows the name, which may hold spaces
  [[ ${field[0]} == [ZX] ]] || echo "${field[19]}"
}

# alive NAME: is the process we started still there? Sets $pid.
alive() {
  local start
  pid=
  [[ -s $dir/pids/$1 ]] && read -r pid start <"$dir/pids/$1" && [[ $(started_at "$pid") == "$start" ]]
}

# launch NAME COMMAND...: in a session of its own, with no file of the caller open, so that neither Ctrl-C nor a waiting pipe knows of it.
launch() {
  local name=$1
  shift
  mkdir -p "$dir/pids" "$dir/logs"
  stop "$name" 1
  (
    exec </dev/null >>"$dir/logs/$name.log" 2>&1
    me=$BASHPID # in $(...) it would be another
    for fd in "/proc/$me/fd/"*; do
      fd=${fd##*/}
      if ((fd > 2 && fd != 255)); then exec {fd}>&-; fi
    done
    echo "$me $(started_at "$me")" >"$dir/pids/$name"
    cd /
    exec setsid "$@"
  ) &
  until [[ -s $dir/pids/$name ]]; do sleep 0.01; done
}

# stop NAME SECONDS: ask, wait, then insist. Never stops the script that calls it.
stop() {
  local tries=$(($2 * 20))
  if alive "$1" && ((pid != $$)); then
    kill -TERM "$pid" 2>/dev/null || true
    while alive "$1" && ((tries-- > 0)); do sleep 0.05; done
    if alive "$1"; then kill -KILL "$pid" 2>/dev/null || true; fi
    while alive "$1"; do sleep 0.05; done
  fi
  rm -f "$dir/pids/$1"
}

# end_cluster: the API server first, which otherwise hangs on an etcd that is gone. Afterwards nothing of it is left.
end_cluster() {
  [[ -e $dir/$mark ]] || return 0
  stop watch 1
  stop operator 20 # where operator.sh started one
  stop kube-apiserver 5
  stop etcd 2
  if [[ -e $dir/node/$mark ]]; then # a node's programs are in bin, too
    find "$dir/bin" -mindepth 1 ! -name kubectl ! -name 'helm*' ! -name in-node -delete
    (cd "$dir" && rm -rf -- "${made[@]:1}" "$mark")
  else
    (cd "$dir" && rm -rf -- "${made[@]}" "$mark")
  fi
}

# lock_cluster: one script at a time works on a cluster. The folder is its own lock, and may be removed by whoever has it.
lock_cluster() {
  until [[ $dir -ef /proc/self/fd/8 ]]; do
    mkdir -p "$dir"
    exec 8<"$dir"
    flock -w 180 8 || { echo "cluster: another script has been busy with $dir for 3 minutes" >&2; return 1; }
  done
}
