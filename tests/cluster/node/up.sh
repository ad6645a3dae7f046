#!/usr/bin/env bash
# Starts a whole node in a network of its own, or completes one that is half there. Safe to repeat.
#
# In:  DIR, the cluster's folder: all state goes to DIR/node; --owner PID: end the node as soon as that process is gone.
#      Root, and Debian's packages (missing ones are installed).
# Out: DIR/node/{kubeconfig,logs,pids}, DIR/bin/{kubectl,helm,helm3,in-node}; stdout: the lines that set KUBECONFIG and PATH.
#      Everything is ended again when it fails. What runs afterwards holds nothing of the caller's open.
# Leaves to others: ending it (down.sh, watch.sh), images (load.sh), what runs on it.
set -euo pipefail
# shellcheck source=state.sh
source "$(dirname "${BASH_SOURCE[0]}")/state.sh"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=programs.sh
source "$here/programs.sh"
# shellcheck source=../credentials.sh
source "$here/../credentials.sh"

patience=120 # seconds until ready; 20 are usual
users=(admin=system:masters viewer= system:kube-controller-manager= system:kube-scheduler= system:kube-proxy= coredns= "system:node:$node_name=system:nodes")

say() { echo "node: $*" >&2; }

require_packages() {
  local -a missing=()
  local each
  [[ $(id -u) == 0 ]] || { say "a node needs root: namespaces, mounts and control groups"; exit 1; }
  for each in containerd:containerd runc:runc iptables:iptables ip:iproute2 conntrack:conntrack ipset:ipset nsenter:util-linux openssl:openssl; do
    command -v "${each%%:*}" >/dev/null || missing+=("${each##*:}")
  done
  [[ -x /usr/lib/cni/bridge ]] || missing+=(containernetworking-plugins)
  ((${#missing[@]} > 0)) || return 0
  command -v apt-get >/dev/null || { say "missing: ${missing[*]}; install them with your package manager"; exit 1; }
  say "installing ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}

# gave_up NAME REASON: with what the program itself said.
gave_up() {
  say "$1 $2; the end of its log:"
  tail -n 40 "$dir/logs/$1.log" >&2 || true
  exit 1
}

# await NAME WHAT COMMAND...: until the command says yes. The program NAME must live meanwhile.
await() {
  local name=$1 what=$2 deadline=$((SECONDS + patience))
  shift 2
  until "$@" &>/dev/null; do
    alive "$name" || gave_up "$name" "ended before this was so: $what"
    ((SECONDS < deadline)) || gave_up "$name" "runs, but not even after $patience s: $what"
    sleep 0.1
  done
}

# ensure NAME: running.
ensure() { alive "$1" || "start_$1"; }

admin() { KUBECONFIG=$dir/kubeconfig KUBERC=off KUBECACHEDIR=$dir/clients/kubectl-cache in_network "$programs/kubectl" --request-timeout=5s "$@"; }

# healthy PORT PATH: a plain HTTP endpoint in the node's network.
healthy() {
  # shellcheck disable=SC2016
  in_network timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "GET %s HTTP/1.0\r\n\r\n" "$1" >&3 && read -r _ code _ <&3 && [[ $code == 200 ]]' "$1" "$2"
}

apiserver_ready() { [[ -s $dir/certs/apiserver.crt ]] && write_admin && admin get --raw /readyz && admin get namespace default kube-system; }
write_admin() { write_kubeconfig "$dir/kubeconfig" "$node_server" admin viewer; }
node_registered() { [[ $(admin get node "$node_name" -o 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}') == "$node_address" ]]; }
node_ready() { [[ $(admin get node "$node_name" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}') == True ]]; }
services_routed() { healthy 10256 /livez && in_network iptables -t nat -S KUBE-SERVICES | grep -q 'default/kubernetes:https'; }
pods_allowed() { admin get serviceaccount default && admin get configmap kube-root-ca.crt; }

# start_watch: always one; a new owner takes the place of the old.
start_watch() {
  local -a whom=()
  if [[ -n $owner ]]; then
    whom=("$owner" "$(started_at "$owner")")
    [[ -n ${whom[1]} ]] || { say "--owner $owner: there is no such process"; exit 1; }
  elif alive watch; then
    return
  fi
  stop watch 1
  launch watch bash "$here/watch.sh" "$cluster" "${whom[@]}"
}

write_kubeconfigs() {
  local user
  for user in "${users[@]:2}"; do write_kubeconfig "$dir/configuration/${user%%=*}" "$node_server" "${user%%=*}"; done
  awk '/BEGIN/ {pem = ""} {pem = pem $0 "\n"} END {printf "%s", pem}' "$dir/certs/apiserver.crt" >"$dir/certs/issuer.crt"
}

# start_runtime: containerd with the image that every pod begins with.
start_runtime() {
  alive containerd && return
  start_containerd
  await containerd "its socket answers" inside ctr version
  [[ -e $dir/images/pause.tar ]] || "$here/../../../scripts/pack.sh" mcp-hangar.io/pause:1 "$dir/images/pause.tar" "$programs/pause"
  await containerd "the pause image is there" inside ctr --namespace k8s.io images import "$dir/images/pause.tar"
}

allow_dns() {
  admin apply -f - >/dev/null <<'END'
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: coredns}, rules: [
  {apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]},
  {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: coredns},
  roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: coredns}, subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: coredns}]}
END
}

write_in_node() {
  printf '%s\n' '#!/usr/bin/env bash' "# Runs a program of the host in the node's network: its files, its rights, the node's addresses." \
    "exec nsenter --net=$netns -- \"\$@\"" >"$dir/data/in-node"
  chmod 755 "$dir/data/in-node"
  mv "$dir/data/in-node" "$cluster/bin/in-node"
}

main() {
  local before=running
  require_packages
  programs=$("$here/build.sh")
  lock_cluster
  # From here on a failure ends whatever runs. The subshells of bash do not take this trap along.
  trap end_node EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  if [[ ! -e $dir/$mark && ! -e $cluster/$mark && -e $cluster/bin ]]; then
    trap - EXIT
    say "$cluster/bin is there already and not ours: choose another folder"
    exit 1
  fi
  if ! alive etcd || ! alive mounts; then
    before=started
    end_node
    lock_cluster
    touch "$dir/$mark"
  fi
  mkdir -p "$dir"/{certs,clients,data,images,logs,root}
  start_watch
  make_groups
  make_network
  alive mounts || make_mounts
  write_tokens "${users[@]}"
  write_certificates
  write_configuration
  ensure etcd
  ensure kube-apiserver
  start_runtime
  await kube-apiserver "it is ready" apiserver_ready
  write_kubeconfigs
  ensure kube-controller-manager
  ensure kube-scheduler
  ensure kubelet
  allow_dns
  ensure coredns
  await kubelet "the node is registered" node_registered
  ensure kube-proxy
  await kube-controller-manager "pods may be created" pods_allowed
  await coredns "names are served" healthy 8181 /ready
  ensure kube-proxy # it may end once, when it learns the node's address
  await kube-proxy "Services are routed" services_routed
  await kubelet "the node is ready" node_ready
  write_wrappers "$cluster" "$programs/kubectl"
  write_in_node
  trap - EXIT
  [[ $before == started ]] || before="already running"
  say "$before: API server on $node_server in ${netns}, $SECONDS s; ended by: $here/down.sh $cluster"
  # shellcheck disable=SC2016
  printf 'export KUBECONFIG=%q\nexport PATH=%q:"$PATH"\n' "$dir/kubeconfig" "$cluster/bin"
}

folder='' owner=''
while (($# > 0)); do
  case $1 in
    --owner) owner=${2:-}; shift; [[ $owner =~ ^[0-9]+$ ]] || { say "--owner needs a pid"; exit 2; } ;;
    -*) folder=''; break ;;
    *) folder=$(realpath -ms "$1") ;;
  esac
  shift
done
[[ -n $folder ]] || { echo "usage: up.sh DIR [--owner PID]" >&2; exit 2; }
use_node "$folder"
main
