# shellcheck shell=bash disable=SC2034,SC2154
# What one node is made of beside its programs: a network, mounts and control groups of its own. For the scripts beside it to source.
#
# In:  use_node DIR, DIR the cluster's folder. Sets $cluster, $dir (the node's state, DIR/node), $netns, $group.
# Out: make_network, make_groups, make_mounts; start and start_inside, which launch a program in them; inside, which runs one; end_node, after
#      which nothing is left. Every process of the node, shims and pods included, is found by its control group, so none escapes.
# Leaves to others: which programs there are (up.sh, programs.sh), single processes (../process.sh).

# shellcheck source=../process.sh
source "$(dirname "${BASH_SOURCE[0]}")/../process.sh"
# shellcheck source=../wrappers.sh
source "$(dirname "${BASH_SOURCE[0]}")/../wrappers.sh"

service_range=10.96.0.0/16
pod_range=10.244.0.0/16
# Kubelet sets these for the whole machine. It is shown files in their place.
tunables=(vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes)
# Paths that are compiled into the kubelet, containerd and its shims, and what stands there instead: folders of ours.
fixed=(/var/lib/kubelet /var/lib/cni /run/containerd /var/log/pods /var/log/containers)

use_node() {
  cluster=$1 dir=$1/node netns=$(netns_of "$1")
  group=/$(basename "$netns")
}

# hierarchies: the mount points of all control group hierarchies; one alone under v2.
hierarchies() { awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/mounts; }

# tracker: the hierarchy whose groups tell which processes are ours.
tracker() {
  local root
  root=$(hierarchies | grep -m1 -E '/(pids|systemd|freezer)$') || root=$(hierarchies | head -n1)
  echo "$root"
}

# group_processes: pids of all processes of the node.
group_processes() { find "$(tracker)$group" -name cgroup.procs -exec cat {} + 2>/dev/null || true; }

make_groups() {
  local root file
  while read -r root; do
    mkdir -p "$root$group/programs"
    for file in cpuset.cpus cpuset.mems; do # a new group of v1 may use none until told
      if [[ -e $root/tasks && -e $root/$file ]]; then cat "$root/$file" >"$root$group/$file"; cat "$root/$file" >"$root$group/programs/$file"; fi
    done
    if [[ $root == /sys/fs/cgroup ]]; then # v2 alone: a group has the controllers that its parent gives away
      sed 's/[^ ]\+/+&/g' "$root/cgroup.controllers" | tee "$root/cgroup.subtree_control" >"$root$group/cgroup.subtree_control"
    fi
  done < <(hierarchies)
}

# make_network: a veth pair with both ends inside is the node's interface. Only Services have a route; nothing else leaves, and says so at once.
make_network() {
  local name=${netns##*/}
  [[ -e $netns ]] || ip netns add "$name"
  in_network ip link show node0 &>/dev/null && return
  in_network ip link set lo up
  in_network ip link add node0 type veth peer name wire0
  in_network ip address add "$node_address/24" dev node0
  in_network ip link set wire0 up
  in_network ip link set node0 up
  in_network ip route add "$service_range" dev node0
  in_network bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; [[ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ]] || echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables'
}

in_network() { nsenter --net="$netns" -- "$@"; }

# start NAME COMMAND...: in the node's network and control group, by the pid that launch notes.
start() {
  local name=$1
  shift
  # shellcheck disable=SC2016
  launch "$name" bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$(tracker)$group/programs" nsenter --net="$netns" -- "$@"
}

# make_mounts: a process holds a mount namespace in which the fixed paths are ours. All mounts end with the last process in it.
make_mounts() {
  local path tunable
  for path in "${fixed[@]}"; do mkdir -p "$path" "$dir/root$path"; done # the host gets empty folders to mount on; they stay
  for tunable in "${tunables[@]}"; do
    mkdir -p "$(dirname "$dir/root/proc/sys/$tunable")"
    cat "/proc/sys/$tunable" >"$dir/root/proc/sys/$tunable"
  done
  rm -f "$dir/mounted"
  # shellcheck disable=SC2016
  start mounts unshare --mount --propagation private bash -euc '
    root=$1 pause=$2 ready=$3
    shift 3
    for path; do mount --bind "$root$path" "$path"; done
    mount --make-rshared /
    touch "$ready"
    exec "$pause"' _ "$dir/root" "$programs/pause" "$dir/mounted" "${fixed[@]}" "${tunables[@]/#//proc/sys/}"
  until [[ -e $dir/mounted ]]; do
    alive mounts || { tail -n 5 "$dir/logs/mounts.log" >&2; return 1; }
    sleep 0.02
  done
}

# mounts_of_node: as nsenter takes it.
mounts_of_node() { alive mounts && echo "--mount=/proc/$pid/ns/mnt"; }

start_inside() {
  local name=$1 mounts
  shift
  mounts=$(mounts_of_node)
  start "$name" nsenter "$mounts" -- "$@"
}

# inside COMMAND...: where containerd's socket is.
inside() {
  local mounts
  mounts=$(mounts_of_node) || { echo "node: it is not up" >&2; return 1; }
  nsenter --net="$netns" "$mounts" -- "$@"
}

# end_node: all is thrown away, so nothing is asked to end by itself. Never the script that calls it.
end_node() {
  local tries=0 processes root
  stop watch 1 # before its folder goes
  disown -a    # bash says nothing of those that this script started
  while processes=$(group_processes) && [[ -n $processes ]]; do
    # shellcheck disable=SC2086
    kill -KILL $processes 2>/dev/null || true
    ((tries++ < 200)) || { echo "node: these processes do not end: $processes" >&2; return 1; }
    sleep 0.05
  done
  while read -r root; do
    [[ ! -d $root$group ]] || find "$root$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done < <(hierarchies)
  if [[ -e $netns ]]; then ip netns delete "${netns##*/}" || true; fi
  if [[ -e $dir/$mark ]]; then
    rm -rf -- "$dir"
    rm -f -- "$cluster/bin/in-node"
    if [[ ! -e $cluster/$mark ]]; then rm -f -- "$cluster"/bin/{kubectl,helm,helm3}; fi # else the API server's, too
  fi
  rmdir "$dir" "$cluster/bin" "$cluster" 2>/dev/null || true
}
