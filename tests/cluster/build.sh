#!/usr/bin/env bash
# Finds or builds etcd, kube-apiserver and kubectl.
#
# In:  KUBEBUILDER_ASSETS (a folder that holds all three: taken as it is), XDG_CACHE_HOME; Go only when it has to build.
# Out: stdout, one line: the folder that holds the three programs. Progress and errors on stderr.
# Leaves to others: starting them (up.sh). Cached by the content of go.mod, go.sum and *.go, so one machine builds once.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
programs=(etcd kube-apiserver kubectl)
version=v1.37.2 # of k8s.io/kubernetes in go.mod
need_gb=6       # modules 0.8, compiled packages 4.3, the result and the linker's scratch

say() { echo "cluster build: $*" >&2; }
fail() { say "$1"; say "to mend it: $2"; exit 1; }

# complete FOLDER: does it hold every program?
complete() {
  local program
  for program in "${programs[@]}"; do [[ -x $1/$program ]] || return 1; done
}

# fingerprint: the name of this source's result.
fingerprint() { (cd "$here" && sha256sum go.mod go.sum ./*.go | sha256sum | cut -c1-16); }

require_go() {
  command -v go >/dev/null || fail "Go is missing, and no built API server was found" \
    "install Go $1 or later (https://go.dev/dl), or set KUBEBUILDER_ASSETS to a folder with ${programs[*]}"
  local have
  have=$(cd "$here" && go env GOVERSION 2>&1 | sed 's/^go\([0-9]\)/\1/; s/[ -].*//') || have=unknown
  if [[ $(printf '%s\n' "$1" "$have" | sort -V | head -n1) != "$1" || ! $have =~ ^[0-9] ]]; then
    fail "$(command -v go) is Go $have, and Kubernetes $version needs $1" \
      "install Go $1 or later (https://go.dev/dl), allow GOTOOLCHAIN=auto, or set KUBEBUILDER_ASSETS"
  fi
}

# require_disk: what earlier builds left in Go's caches counts as space we have.
require_disk() {
  local gocache modcache free used
  gocache=$(go env GOCACHE) modcache=$(go env GOMODCACHE)
  mkdir -p "$gocache" "$modcache"
  free=$(df -Pk "$gocache" | awk 'NR==2 {print int($4/1024/1024)}')
  ((free < need_gb)) || return 0
  used=$(du -sck "$gocache" "$modcache" | awk 'END {print int($1/1024/1024)}')
  ((free > 0 && free + used >= need_gb)) || fail "$gocache has $free GB free, and the build needs up to $need_gb GB" \
    "free some space, or set GOCACHE, GOMODCACHE and XDG_CACHE_HOME to folders on a larger disk"
}

# compile OUT LOG
compile() {
  local info=k8s.io/component-base/version
  local -a facts=(-X "$info.gitVersion=$version" -X "$info.gitMajor=1" -X "$info.gitMinor=37" -X "$info.gitTreeState=clean")
  cd "$here"
  go list -mod=readonly -deps . >"$2.packages" 2>"$2" || return
  exec go build -v -mod=readonly -buildvcs=false -trimpath -ldflags "-s -w ${facts[*]}" -o "$1" . 2>>"$2"
}

# progress LOG: a line now and then, until ended.
progress() {
  local built all started=$SECONDS
  while sleep 15 &>/dev/null; do # which may outlive us, and must not hold a pipe open
    built=$(grep -c '/' "$1" || true) all=0
    if [[ -s $1.packages ]]; then all=$(wc -l <"$1.packages"); fi
    if ((all == 0)); then
      say "$((SECONDS - started)) s: downloading Go modules (about 0.75 GB once unpacked)"
    else
      say "$((SECONDS - started)) s: compiled $built of at most $all packages; last: $(tail -n1 "$1" | cut -c1-80)"
    fi
  done
}

# build TARGET: under the lock.
build() {
  local target=$1 scratch log went
  scratch=$(mktemp -d "$(dirname "$target")/.build-XXXXXX")
  log=$scratch/log
  # shellcheck disable=SC2064
  trap "kill \$(jobs -p) 2>/dev/null || true; rm -rf '$scratch'" EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  say "compiling etcd, kube-apiserver and kubectl $version from source: no prebuilt ones are needed; 2330 Go packages"
  say "once per machine, 5 to 9 minutes on 2 cores (less where Go compiled parts of it before); kept in $target"
  mkdir "$scratch/bin"
  : >"$log"
  CGO_ENABLED=0 GOWORK=off compile "$scratch/bin/control-plane" "$log" 9>&- >&2 &
  local compiler=$!
  progress "$log" 9>&- >&2 &
  went=0; wait "$compiler" || went=$?
  if ((went != 0)); then
    tail -n 30 "$log" >&2
    if grep -q 'no space left' "$log"; then fail "the disk is full" "free $need_gb GB, or set GOCACHE and TMPDIR to a larger disk"; fi
    if grep -qE 'dial tcp|proxy|Get "' "$log"; then fail "Go modules could not be downloaded" "check the network and 'go env GOPROXY'"; fi
    fail "go build ended with $went" "see the lines above"
  fi
  local program
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
target=$cache/$(fingerprint)
if ! complete "$target"; then
  mkdir -p "$cache"
  exec 9>"$target.lock"
  flock -n 9 || { say "another build of the same is running: waiting for it"; flock 9; }
  if ! complete "$target"; then
    require_go "$(awk '$1 == "go" {print $2}' "$here/go.mod")"
    require_disk
    build "$target"
  fi
fi
echo "$target"
