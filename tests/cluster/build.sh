#!/usr/bin/env bash
# Finds or builds etcd, kube-apiserver and kubectl.
#
# In:  KUBEBUILDER_ASSETS (a folder that holds all three: taken as it is), XDG_CACHE_HOME; Go only when it has to build.
# Out: stdout, one line: the folder that holds the three programs. Progress and errors on stderr.
# Leaves to others: starting them (up.sh), compiling (compile.sh). Cached by the content of go.mod, go.sum and *.go, so one machine builds once.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
programs=(etcd kube-apiserver kubectl)
version=v1.37.2 # of k8s.io/kubernetes in go.mod
need_gb=6       # modules 0.8, compiled packages 4.3, the result and the linker's scratch
label="cluster build"
# shellcheck source=compile.sh
source "$here/compile.sh"

# complete FOLDER: does it hold every program?
complete() {
  local program
  for program in "${programs[@]}"; do [[ -x $1/$program ]] || return 1; done
}

# build TARGET: under the lock.
build() {
  local target=$1 program info=k8s.io/component-base/version
  begin_build "$target"
  say "compiling etcd, kube-apiserver and kubectl $version from source: no prebuilt ones are needed; 2330 Go packages"
  say "once per machine, 5 to 9 minutes on 2 cores (less where Go compiled parts of it before); kept in $target"
  mkdir "$scratch/bin"
  compile "$scratch/bin/control-plane" . "$info.gitVersion=$version" "$info.gitMajor=1" "$info.gitMinor=37" "$info.gitTreeState=clean"
  for program in "${programs[@]}"; do ln -s control-plane "$scratch/bin/$program"; done
  "$scratch/bin/kubectl" version --client >&2
  rm -rf "$target" # incomplete, or we would not be here
  mv -T "$scratch/bin" "$target"
  say "built in $SECONDS s"
}

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
  if complete "$KUBEBUILDER_ASSETS"; then
    (cd "$KUBEBUILDER_ASSETS" && pwd)
    exit
  fi
  say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS does not hold all of ${programs[*]}: not used"
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/mcp-hangar/cluster
target=$cache/$(cd "$here" && fingerprint go.mod go.sum ./*.go)
if ! complete "$target"; then
  mkdir -p "$cache"
  exec 9>"$target.lock"
  flock -n 9 || { say "another build of the same is running: waiting for it"; flock 9; }
  if ! complete "$target"; then
    require_go "set KUBEBUILDER_ASSETS to a folder with ${programs[*]}"
    require_disk "$need_gb"
    build "$target"
  fi
fi
echo "$target"
