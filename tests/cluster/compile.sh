# shellcheck shell=bash disable=SC2154
# Builds Go programs with a line of progress now and then, for build.sh and node/build.sh to source.
#
# In:  $here, the folder of the Go module; $label, which begins each line; $version, Kubernetes'.
# Out: say, fail, fingerprint, require_go, require_disk, compile, begin_build. All they print goes to stderr.
# Leaves to others: what is built and where it is kept (the build.sh that sources it).

say() { echo "$label: $*" >&2; }
fail() { say "$1"; say "to mend it: $2"; exit 1; }

# fingerprint FILE...: the name of these sources' result.
fingerprint() { sha256sum "$@" | sha256sum | cut -c1-16; }

# require_go INSTEAD: what else than a newer Go would help.
require_go() {
  local wanted have
  wanted=$(awk '$1 == "go" {print $2}' "$here/go.mod")
  command -v go >/dev/null || fail "Go is missing, and nothing built was found" "install Go $wanted or later (https://go.dev/dl)${1:+, or $1}"
  have=$(cd "$here" && go env GOVERSION 2>&1 | sed 's/^go\([0-9]\)/\1/; s/[ -].*//') || have=unknown
  if [[ $(printf '%s\n' "$wanted" "$have" | sort -V | head -n1) != "$wanted" || ! $have =~ ^[0-9] ]]; then
    fail "$(command -v go) is Go $have, and Kubernetes $version needs $wanted" \
      "install Go $wanted or later (https://go.dev/dl), allow GOTOOLCHAIN=auto${1:+, or $1}"
  fi
}

# require_disk GB: what earlier builds left in Go's caches counts as space we have.
require_disk() {
  local gocache modcache free used
  gocache=$(go env GOCACHE) modcache=$(go env GOMODCACHE)
  mkdir -p "$gocache" "$modcache"
  free=$(df -Pk "$gocache" | awk 'NR==2 {print int($4/1024/1024)}')
  ((free < $1)) || return 0
  used=$(du -sck "$gocache" "$modcache" | awk 'END {print int($1/1024/1024)}')
  ((free > 0 && free + used >= $1)) || fail "$gocache has $free GB free, and the build needs up to $1 GB" \
    "free some space, or set GOCACHE, GOMODCACHE and XDG_CACHE_HOME to folders on a larger disk"
}

# begin_build TARGET: sets $scratch, a folder beside it that is removed at the end, whatever the end is.
begin_build() {
  scratch=$(mktemp -d "$(dirname "$1")/.build-XXXXXX")
  # shellcheck disable=SC2064
  trap "kill \$(jobs -p) 2>/dev/null || true; rm -rf '$scratch'" EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# go_build OUT PACKAGE LDFLAGS
go_build() {
  cd "$here" || return
  export CGO_ENABLED=0 GOWORK=off
  go list -mod=readonly -deps "$2" >"$scratch/packages" 2>"$scratch/log" || return
  exec go build -v -mod=readonly -buildvcs=false -trimpath -ldflags "-s -w $3" -o "$1" "$2" 2>>"$scratch/log"
}

# progress: a line now and then, until ended.
progress() {
  local built all started=$SECONDS
  while sleep 15 &>/dev/null; do # which may outlive us, and must not hold a pipe open
    built=$(grep -c '/' "$scratch/log" || true) all=0
    if [[ -s $scratch/packages ]]; then all=$(wc -l <"$scratch/packages"); fi
    if ((all == 0)); then
      say "$((SECONDS - started)) s: downloading Go modules (about 0.75 GB once unpacked)"
    else
      say "$((SECONDS - started)) s: compiled $built of at most $all packages; last: $(tail -n1 "$scratch/log" | cut -c1-80)"
    fi
  done
}

# compile OUT PACKAGE FACT...: each FACT is what the linker writes into a variable, as PATH=VALUE. Descriptor 9, a lock, stays ours.
compile() {
  local out=$1 package=$2 went=0 flags compiler watcher
  shift 2
  flags=$(printf ' -X %s' "$@")
  : >"$scratch/log"
  : >"$scratch/packages"
  go_build "$out" "$package" "$flags" 9>&- >&2 &
  compiler=$!
  progress 9>&- >&2 &
  watcher=$!
  wait "$compiler" || went=$?
  kill "$watcher" 2>/dev/null || true
  ((went != 0)) || return 0
  tail -n 30 "$scratch/log" >&2
  if grep -q 'no space left' "$scratch/log"; then fail "the disk is full" "free some space, or set GOCACHE and TMPDIR to a larger disk"; fi
  if grep -qE 'dial tcp|GOPROXY|Get "http' "$scratch/log"; then fail "Go modules could not be downloaded" "check the network and 'go env GOPROXY'"; fi
  fail "go build ended with $went" "see the lines above"
}
