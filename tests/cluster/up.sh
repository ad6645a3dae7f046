#!/usr/bin/env bash
# Starts an API server with its etcd on loopback, or completes one that is half there. Safe to repeat.
#
# In:  DIR, where all of its state goes; --owner PID: end the cluster as soon as that process is gone. The programs come from build.sh.
# Out: DIR/kubeconfig (contexts admin and viewer), DIR/bin/kubectl, DIR/tokens.csv, DIR/logs; stdout: the lines that set KUBECONFIG and PATH.
#      Everything is ended again when it fails. What runs afterwards holds nothing of the caller's open.
# Leaves to others: ending it (down.sh, watch.sh), finding the programs (build.sh), processes (process.sh), who may call (credentials.sh),
#      what a person calls (wrappers.sh), a whole node (node/).
set -euo pipefail
umask 077
# shellcheck source=process.sh
source "$(dirname "${BASH_SOURCE[0]}")/process.sh"
# shellcheck source=credentials.sh
source "$here/credentials.sh"
# shellcheck source=wrappers.sh
source "$here/wrappers.sh"

patience=120 # seconds until ready; 5 are usual

say() { echo "cluster: $*" >&2; }

# gave_up NAME REASON: with what the program itself said.
gave_up() {
  say "$1 $2; the end of its log:"
  tail -n 40 "$dir/logs/$1.log" >&2 || true
  exit 1
}

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 10000)) # below the ports that the kernel hands out, outside the node ports
    (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

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
  launch watch bash "$here/watch.sh" "$dir" "${whom[@]}"
}

start_etcd() {
  # Port 0: the kernel chooses, and etcd's log says which. Nobody dials the peer address of a lone member.
  launch etcd "$programs/etcd" --data-dir="$dir/data/etcd" --unsafe-no-fsync --logger=zap \
    --listen-client-urls=http://127.0.0.1:0 --advertise-client-urls=http://127.0.0.1:0 \
    --listen-peer-urls=http://127.0.0.1:0 --initial-advertise-peer-urls=http://127.0.0.1:1 --initial-cluster=default=http://127.0.0.1:1
}

# etcd_address: as etcd's own log has it, so that it can't be another cluster's; waits for it.
etcd_address() {
  local deadline=$((SECONDS + patience)) address
  while :; do
    address=$(sed -n 's/.*"msg":"serving client traffic insecurely.*"address":"\([0-9.:]*\)".*/\1/p' "$dir/logs/etcd.log" | tail -n1)
    [[ -z $address ]] || break
    alive etcd || gave_up etcd "ended"
    ((SECONDS < deadline)) || gave_up etcd "is not ready after $patience s"
    sleep 0.05
  done
  echo "$address"
}

start_apiserver() {
  # It makes its own serving certificate and authority in --cert-dir, and finds them there again; the key also signs service account tokens.
  # The plugin is off by default and on in OpenShift: who sets an owner that blocks deletion must be allowed to.
  launch kube-apiserver "$programs/kube-apiserver" --etcd-servers="http://$etcd" \
    --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --secure-port="$port" --endpoint-reconciler-type=none \
    --cert-dir="$dir/certs" --token-auth-file="$dir/tokens.csv" --authorization-mode=Node,RBAC \
    --enable-admission-plugins=OwnerReferencesPermissionEnforcement \
    --service-cluster-ip-range=10.0.0.0/24 --service-account-issuer=https://kubernetes.default.svc \
    --service-account-signing-key-file="$dir/certs/apiserver.key" --service-account-key-file="$dir/certs/apiserver.key"
}

# get PATH: is it there? As admin, with nothing of the user's own configuration.
get() {
  KUBECONFIG=/dev/null KUBERC=off "$programs/kubectl" get --raw "$1" --server="https://127.0.0.1:$port" \
    --certificate-authority="$dir/certs/apiserver.crt" --token="$(token admin)" --request-timeout=5s &>/dev/null
}

# await_apiserver: until it is ready. Returns 1 when its port was taken by another program.
await_apiserver() {
  local deadline=$((SECONDS + patience))
  # Readiness does not wait for the namespace default, and most tests do.
  until [[ -s $dir/certs/apiserver.crt ]] && get /readyz && get /api/v1/namespaces/default; do
    if ! alive kube-apiserver; then
      if grep -q 'address already in use' "$dir/logs/kube-apiserver.log"; then return 1; fi
      gave_up kube-apiserver "ended"
    fi
    ((SECONDS < deadline)) || gave_up kube-apiserver "is not ready after $patience s"
    sleep 0.1
  done
}

# ensure_apiserver: on the port it had, or on another as long as nobody has been told of it.
ensure_apiserver() {
  local try
  [[ -s $dir/port ]] || free_port >"$dir/port"
  for try in 1 2 3 4 5; do
    port=$(<"$dir/port")
    alive kube-apiserver || start_apiserver
    if await_apiserver; then return; fi
    [[ ! -e $dir/kubeconfig ]] || break
    say "port $port was taken meanwhile (try $try)"
    : >"$dir/logs/kube-apiserver.log"
    free_port >"$dir/port"
  done
  gave_up kube-apiserver "finds its port $port taken"
}

main() {
  local before etcd port
  programs=$("$here/build.sh")
  lock_cluster
  if [[ ! -e $dir/$mark ]]; then
    local name
    for name in "${made[@]}"; do
      [[ ! -e $dir/$name || ($name == bin && -e $dir/node/$mark) ]] || { say "$dir/$name is there already and not ours: choose another folder"; exit 1; }
    done
    touch "$dir/$mark"
  fi
  # From here on a failure ends whatever runs. The subshells of bash do not take this trap along.
  trap 'end_cluster; rmdir "$dir" 2>/dev/null || true' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  before=running
  if ! alive kube-apiserver; then before="API server restarted"; fi
  if ! alive etcd; then
    before=started
    end_cluster
    mkdir -p "$dir" && touch "$dir/$mark"
  fi
  start_watch
  if [[ $before == started ]]; then start_etcd; fi
  etcd=$(etcd_address)
  mkdir -p "$dir/data"
  write_tokens admin=system:masters viewer=
  ensure_apiserver
  write_kubeconfig "$dir/kubeconfig" "https://127.0.0.1:$port" admin viewer
  write_wrappers "$dir" "$programs/kubectl"
  trap - EXIT
  [[ $before != running ]] || before="already running"
  say "$before: API server on https://127.0.0.1:$port, etcd on $etcd, $SECONDS s; ended by: $here/down.sh $dir"
  # shellcheck disable=SC2016
  printf 'export KUBECONFIG=%q\nexport PATH=%q:"$PATH"\n' "$dir/kubeconfig" "$dir/bin"
}

dir='' owner=''
while (($# > 0)); do
  case $1 in
    --owner) owner=${2:-}; shift; [[ $owner =~ ^[0-9]+$ ]] || { say "--owner needs a pid"; exit 2; } ;;
    -*) dir=''; break ;;
    *) dir=$(realpath -ms "$1") ;;
  esac
  shift
done
[[ -n $dir ]] || { echo "usage: up.sh DIR [--owner PID]" >&2; exit 2; }
main
