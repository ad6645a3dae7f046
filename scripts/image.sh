#!/usr/bin/env bash
# `make docker-build IMG=...` and `make docker-push IMG=...`: a static binary in an image from scratch.
#
# In:  build IMG | push IMG | archive IMG; IMAGE_PROFILE, the cargo profile (dist; dev and release build faster).
# Out: build: the image in docker, podman or buildah, whichever is there and works; without any of them, as archive does.
#      archive: target/image/image.tar, which `docker load` and `ctr images import` take. Nothing is compiled for it while no source has changed.
#      In both cases the binary is target/image/mcp-hangar-operator.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { echo "image: $*" >&2; }
action=${1:-} image=${2:-} profile=${IMAGE_PROFILE:-dist}
[[ $action =~ ^(build|push|archive)$ ]] || { echo "usage: image.sh build|push|archive IMG" >&2; exit 2; }
[[ -n $image ]] || { say "which image? write: make docker-$action IMG=my-registry/mcp-hangar-operator:v0.1.0"; exit 2; }

# A client without its daemon cannot build.
tool=''
if [[ $action != archive ]]; then
  for candidate in docker podman buildah; do
    if command -v "$candidate" >/dev/null && timeout 10 "$candidate" info >/dev/null 2>&1; then tool=$candidate; break; fi
  done
fi

if [[ $action == push ]]; then
  [[ -n $tool ]] || { say "pushing needs docker, podman or buildah with its daemon; none answers here"; exit 1; }
  exec "$tool" push "$image"
fi

stage=target/image/$profile binary=target/image/$profile/mcp-hangar-operator archive=target/image/image.tar

# sources: what the binary is made of, the commit aside.
sources() {
  {
    echo "$profile $(rustc -vV)"
    find Cargo.toml Cargo.lock build.rs rust-toolchain.toml .cargo api webhooks src -type f -not -path '*/tests/*' -not -path '*/target/*' -print0 |
      LC_ALL=C sort -z | xargs -0 sha256sum
  } | sha256sum
}

build_binary() {
  local target revision flags='-C target-feature=+crt-static'
  target=$(rustc -vV | sed -n 's/^host: //p')
  # Empty where there is no git; then the build says unknown.
  revision=${MCP_HANGAR_GIT_SHA:-$(git rev-parse --short HEAD 2>/dev/null || true)}
  if [[ -z ${MCP_HANGAR_GIT_SHA:-} && -n $revision && -n $(git status --porcelain 2>/dev/null) ]]; then revision+=-dirty; fi
  # Static glibc: name resolution by files and DNS is built in.
  MCP_HANGAR_GIT_SHA=$revision RUSTFLAGS=$flags cargo build --profile "$profile" --package mcp-hangar-operator --target "$target" 9>&-
  cp "target/$target/${profile/#dev/debug}/mcp-hangar-operator" "$binary"
  if file "$binary" 2>/dev/null | grep -q 'dynamically linked'; then say "the binary is not static"; exit 1; fi
}

mkdir -p "$stage"
exec 9>"$stage/lock" # two builds of one profile would mix their sources up
flock 9
made_of=$(sources)
if [[ $action == archive && -x $binary && $(cat "$stage/sources" 2>/dev/null) == "$made_of" ]]; then
  say "no source has changed: the binary is used again"
else
  rm -f "$stage/sources"
  build_binary
  # What changed meanwhile may be in it or not.
  if [[ $(sources) == "$made_of" ]]; then echo "$made_of" >"$stage/sources"; fi
fi

ln -f "$binary" target/image/mcp-hangar-operator # of whichever profile was asked for last

case $tool in
  docker | podman) exec "$tool" build --tag "$image" --file Dockerfile "$stage" ;;
  buildah) exec buildah build --tag "$image" --file Dockerfile "$stage" ;;
esac

# No builder: write what one would write.
scripts/pack.sh "$image" "$archive" "$binary" '["run"]' '{"9443/tcp":{},"8080/tcp":{},"8081/tcp":{}}'
say "wrote $archive ($(du -h "$archive" | cut -f1)) as $image"
if [[ $action == build ]]; then
  say "no docker, podman or buildah answers here; load it with: docker load -i $archive, or: ctr images import $archive"
fi
