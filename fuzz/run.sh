#!/usr/bin/env bash
# `make fuzz`: runs every target for a while, on top of its kept corpus.
#
# In:  FUZZ_SECONDS for each target (20), FUZZ_TARGETS (all). Out: one line for each target; exit 1 at the first input that
# breaks a promise, takes longer than 5 s or more than 512 MiB, with the place where it is kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
seconds=${FUZZ_SECONDS:-20}
# What no sanitizer needs a nightly compiler for: the pinned toolchain builds this, like everything else here.
build=(--sanitizer none --codegen-units 16)
tools=${XDG_CACHE_HOME:-$HOME/.cache}/mcp-hangar/tools
export PATH=$tools/bin:$PATH

# limits TARGET: the longest input, and the dictionary.
limits() {
  case $1 in
    body) echo "16384 body" ;;
    admission | conversion) echo "4096 spec" ;;
    stash | json) echo "4096 $1" ;;
    generated) echo "512 -" ;;
    duration | quantity) echo "128 $1" ;;
    image | endpoint | pattern) echo "512 $1" ;;
    *) echo "no limits are known for $1; add a line to ${BASH_SOURCE[0]}" >&2 && return 1 ;;
  esac
}

# stat NAME LOG: a figure that libFuzzer printed at its end.
stat() { sed -n "s/^stat::$1: *//p" "$2"; }

if ! command -v cargo-fuzz >/dev/null; then
  echo "installing cargo-fuzz into $tools"
  cargo install cargo-fuzz --version 0.13.2 --locked --quiet --root "$tools"
fi
targets=${FUZZ_TARGETS:-$(cargo fuzz list)}
cargo fuzz build "${build[@]}"
binaries=target/$(rustc -vV | sed -n 's/^host: //p')/release
# As small as the stacks of the server's threads.
ulimit -s 2048
for target in $targets; do
  read -r longest dictionary <<<"$(limits "$target")"
  # New inputs go into the first folder, so that what git keeps is only read.
  found=target/found/$target log=target/found/$target.log artifacts=artifacts/$target
  mkdir -p "$found" "$artifacts"
  options=("-max_total_time=$seconds" "-max_len=$longest" -timeout=5 -rss_limit_mb=512 -print_final_stats=1
    "-artifact_prefix=$artifacts/")
  [ "$dictionary" = - ] || options+=("-dict=dict/$dictionary.dict")
  if ! "$binaries/$target" "${options[@]}" "$found" "corpus/$target" >"$log" 2>&1; then
    tail -n 60 "$log"
    echo "$target: an input broke a promise; it is kept in fuzz/$artifacts, and fuzz/README.md says what to do with it"
    exit 1
  fi
  reached=$(sed -n 's/.* cov: \([0-9]*\) ft: \([0-9]*\) .*/\1 edges, \2 features/p' "$log" | tail -n 1)
  printf '%-10s %10s inputs, %s, %s MiB at most\n' "$target" "$(stat number_of_executed_units "$log")" "$reached" \
    "$(stat peak_rss_mb "$log")"
done
