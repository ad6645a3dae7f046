# shellcheck shell=bash
# The programs a person or a test calls: kubectl, helm and helm3 in DIR/bin, for up.sh and node/up.sh to source.
#
# In:  write_wrappers DIR KUBECTL [NETNS], DIR the cluster's folder; the node's state, if there is one, is DIR/node.
# Out: DIR/bin/{kubectl,helm,helm3}; Helm only where it is built already, for nothing waits for that. The kubeconfig decides where a call goes:
#      one that names the node's address enters the node's network, every other stays in the host's. So both kinds of cluster may be up at once.
# Leaves to others: building the programs.

node_address=192.168.64.1 # of every node; each has a network of its own
node_server=https://$node_address:6443

# netns_of DIR: the network namespace of the node whose state is DIR/node. The name is that of the folder, so two checkouts have two.
netns_of() { echo "/run/netns/mcp-hangar-$(sha256sum <<<"$1" | cut -c1-8)"; }

# write_wrapper NAME PROGRAM
write_wrapper() {
  local scratch
  scratch=$(mktemp "$cluster/bin/.$1-XXXXXX")
  cat >"$scratch" <<END_OF_WRAPPER
#!/usr/bin/env bash
# $1. --kubeconfig or KUBECONFIG decides; without them the API server on loopback, or else the node, and never the user's own by accident.
cluster=$(printf %q "$cluster")
config=\${KUBECONFIG:-} last=
for word; do
  if [[ \$last == --kubeconfig ]]; then config=\$word; elif [[ \$word == --kubeconfig=* ]]; then config=\${word#*=}; fi
  last=\$word
done
if [[ -z \$config ]]; then
  config=\$cluster/kubeconfig
  [[ -e \$config || ! -e \$cluster/node/kubeconfig ]] || config=\$cluster/node/kubeconfig
  export KUBECONFIG=\$config
fi
config=\${config%%:*} state=\$cluster/data enter=()
if [[ -f \$config && \$(<"\$config") == *$node_server* ]]; then
  state=\$cluster/node/clients enter=(nsenter --net=$(netns_of "$cluster") --)
  [[ -e $(netns_of "$cluster") ]] || { echo "$1: \$config is of a node that is not up; start it with: make up NODE=1" >&2; exit 1; }
fi
export KUBERC=off KUBECACHEDIR=\$state/kubectl-cache
export HELM_CACHE_HOME=\${HELM_CACHE_HOME:-\$state/helm/cache} HELM_CONFIG_HOME=\${HELM_CONFIG_HOME:-\$state/helm/config} HELM_DATA_HOME=\${HELM_DATA_HOME:-\$state/helm/data}
exec "\${enter[@]}" $(printf %q "$2") "\$@"
END_OF_WRAPPER
  chmod 755 "$scratch"
  mv "$scratch" "$cluster/bin/$1" # at once, for one may be running
}

write_wrappers() {
  local cluster=$1 helms
  mkdir -p "$cluster/bin"
  write_wrapper kubectl "$2"
  if helms=$("$(dirname "${BASH_SOURCE[0]}")/node/build.sh" --built); then
    write_wrapper helm "$helms/helm"
    write_wrapper helm3 "$helms/helm3"
  fi
}
