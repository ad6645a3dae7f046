#!/usr/bin/env bash
# Finds or builds a whole node's programs: etcd, the control plane, kubelet, kube-proxy, CoreDNS, kubectl, pause, Helm 4 and Helm 3.
#
# In:  XDG_CACHE_HOME; Go only when it has to build. --helm: only helm and helm3; --built: build nothing, exit 1 where these two are missing.
# Out: stdout, one line: the folder that holds the programs. Progress and errors on stderr.
# Leaves to others: starting them (up.sh), compiling (../compile.sh). Cached by the content of go.mod, go.sum and the Go files; Helm first,
#      since people wait for it. Packages that the API server for the tests shares are taken from Go's build cache.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
helms=(helm helm3)
programs=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy coredns kubectl)
version=v1.37.2 # of k8s.io/kubernetes in go.mod
need_gb=8       # modules 0.9, compiled packages 5, the results and the linker's scratch
label="node build"
# shellcheck source=../compile.sh
source "$here/../compile.sh"

# complete FOLDER PROGRAM...: does it hold every program?
complete() {
  local folder=$1 program
  shift
  for program in "$@"; do [[ -x $folder/$program ]] || return 1; done
}

# version_of MODULE: as go.mod has it.
version_of() { awk -v module="$1" '$1 == module && $2 ~ /^v/ {print $2; exit}' "$here/go.mod"; }

# build_helm: the version alone says what it is; Helm 3 also wants to know the Kubernetes that it is made for.
build_helm() {
  local four three name
  four=$(version_of helm.sh/helm/v4) three=$(version_of helm.sh/helm/v3)
  say "compiling Helm $four and $three from source: about 4 minutes on 2 cores with an empty build cache, less than one otherwise"
  compile "$scratch/helm" helm.sh/helm/v4/cmd/helm helm.sh/helm/v4/internal/version.version="$four" \
    helm.sh/helm/v4/internal/version.gitTreeState=clean
  compile "$scratch/helm3" helm.sh/helm/v3/cmd/helm helm.sh/helm/v3/internal/version.version="$three" \
    helm.sh/helm/v3/internal/version.gitTreeState=clean \
    helm.sh/helm/v3/pkg/{lint/rules,chartutil}.k8sVersionMajor=1 helm.sh/helm/v3/pkg/{lint/rules,chartutil}.k8sVersionMinor=37
  for name in "${helms[@]}"; do
    HELM_PLUGINS=$scratch "$scratch/$name" version --short >&2
    mv -T "$scratch/$name" "$target/$name" # each complete from its first moment
  done
}

build_node() {
  local program info=k8s.io/component-base/version
  say "compiling Kubernetes $version with kubelet, kube-proxy and CoreDNS from source, once per machine; kept in $target"
  say "12 minutes on 2 cores with an empty build cache, 3 after 'make test' (which compiles most of it for the API server)"
  compile "$scratch/pause" ./pause main.version="$version"
  compile "$scratch/node" . "$info.gitVersion=$version" "$info.gitMajor=1" "$info.gitMinor=37" "$info.gitTreeState=clean"
  mv -T "$scratch/pause" "$target/pause"
  mv -T "$scratch/node" "$target/node"
  for program in "${programs[@]}"; do ln -sfT node "$target/$program"; done
  "$target/kubectl" version --client >&2
}

only=${1:-}
[[ $only =~ ^(|--helm|--built)$ ]] || { echo "usage: build.sh [--helm | --built]" >&2; exit 2; }
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mcp-hangar/node
target=$cache/$(cd "$here" && fingerprint go.mod go.sum ./*.go ./*/*.go)
wanted=("${helms[@]}")
[[ -n $only ]] || wanted+=(pause "${programs[@]}")
if ! complete "$target" "${wanted[@]}"; then
  [[ $only != --built ]] || exit 1
  mkdir -p "$target"
  exec 9>"$target.lock"
  flock -n 9 || { say "another build of the same is running: waiting for it"; flock 9; }
  if ! complete "$target" "${wanted[@]}"; then
    require_go ""
    require_disk "$need_gb"
    begin_build "$target"
    complete "$target" "${helms[@]}" || build_helm
    if [[ -z $only ]]; then build_node; fi
    say "built in $SECONDS s"
  fi
fi
echo "$target"
