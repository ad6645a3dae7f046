#!/usr/bin/env bash
# `make docker-build IMG=...` and `make docker-push IMG=...`: a static binary in an image from scratch.
#
# In:  build IMG | push IMG. Out: the image in docker, podman or buildah, whichever is there and works; without any of them an archive
#      target/image/image.tar that `docker load` and `ctr images import` take.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { echo "image: $*" >&2; }
action=${1:-} image=${2:-}
[[ $action == build || $action == push ]] || { echo "usage: image.sh build|push IMG" >&2; exit 2; }
[[ -n $image ]] || { say "which image? write: make docker-$action IMG=my-registry/mcp-hangar-operator:v0.1.0"; exit 2; }

# A client without its daemon cannot build.
tool=''
for candidate in docker podman buildah; do
  if command -v "$candidate" >/dev/null && timeout 10 "$candidate" info >/dev/null 2>&1; then tool=$candidate; break; fi
done

if [[ $action == push ]]; then
  [[ -n $tool ]] || { say "pushing needs docker, podman or buildah with its daemon; none answers here"; exit 1; }
  exec "$tool" push "$image"
fi

stage=target/image
mkdir -p "$stage"
target=$(rustc -vV | sed -n 's/^host: //p')
# Empty where there is no git; then the build says unknown.
revision=${MCP_HANGAR_GIT_SHA:-$(git rev-parse --short HEAD 2>/dev/null || true)}
if [[ -z ${MCP_HANGAR_GIT_SHA:-} && -n $revision && -n $(git status --porcelain 2>/dev/null) ]]; then revision+=-dirty; fi
# Static glibc: name resolution by files and DNS is built in.
MCP_HANGAR_GIT_SHA=$revision RUSTFLAGS='-C target-feature=+crt-static' cargo build --profile dist --package mcp-hangar-operator --target "$target"
cp "target/$target/dist/mcp-hangar-operator" "$stage/mcp-hangar-operator"
if file "$stage/mcp-hangar-operator" 2>/dev/null | grep -q 'dynamically linked'; then say "the binary is not static"; exit 1; fi

case $tool in
  docker | podman) exec "$tool" build --tag "$image" --file Dockerfile "$stage" ;;
  buildah) exec buildah build --tag "$image" --file Dockerfile "$stage" ;;
esac

# No builder: write what one would write. Fixed owners and times, so that the same binary makes the same archive.
arch=$(uname -m)
case $arch in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; esac
pack() { tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$1" -cf "$2" "${@:3}"; }
root=$stage/root archive=$stage/archive
rm -rf "$root" "$archive"
mkdir -p "$root" "$archive/layer"
install -m 0755 "$stage/mcp-hangar-operator" "$root/mcp-hangar-operator"
pack "$root" "$archive/layer/layer.tar" mcp-hangar-operator
digest=$(sha256sum "$archive/layer/layer.tar" | cut -d' ' -f1)
config='{"architecture":"'$arch'","os":"linux","config":{"User":"65532:65532","Entrypoint":["/mcp-hangar-operator"],"Cmd":["run"],'
config+='"ExposedPorts":{"9443/tcp":{},"8080/tcp":{},"8081/tcp":{}}},"rootfs":{"type":"layers","diff_ids":["sha256:'$digest'"]}}'
printf '%s' "$config" >"$archive/config.json"
printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer/layer.tar"]}]' "$image" >"$archive/manifest.json"
pack "$archive" "$stage/image.tar" manifest.json config.json layer
rm -rf "$root" "$archive"
say "no docker, podman or buildah answers here; wrote $stage/image.tar ($(du -h "$stage/image.tar" | cut -f1)) as $image"
say "load it with: docker load -i $stage/image.tar, or: ctr images import $stage/image.tar"
