#!/usr/bin/env bash
# Packs one static binary, or a folder, into an image from scratch, as an archive that `docker load` and `ctr images import` take.
#
# In:  IMAGE, its name; ARCHIVE, where it goes; BINARY; ARGUMENTS, a JSON list (default []); PORTS, a JSON object as image configurations have it.
#      A folder in BINARY's place is all that the image holds; ENTRYPOINT, a JSON list, then says what runs.
# Out: ARCHIVE. Fixed owners and times, so that the same binary makes the same archive. It runs as user 65532.
set -euo pipefail
(($# >= 3)) || { echo "usage: pack.sh IMAGE ARCHIVE BINARY [ARGUMENTS [PORTS]]" >&2; exit 2; }
image=$1 archive=$2 binary=$3 arguments=${4:-[]} ports=${5:-'{}'}
name=/$(basename "$binary")
runs='["'$name'"]'

case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
pack() { tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$1" -cf "$2" "${@:3}"; }
mkdir -p "$(dirname "$archive")"
scratch=$(mktemp -d "$archive.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/root" "$scratch/image/layer"
chmod 0755 "$scratch/root" "$scratch/image" "$scratch/image/layer"
if [[ -d $binary ]]; then
  runs=${ENTRYPOINT:?what runs}
  pack "$binary" "$scratch/image/layer/layer.tar" .
else
  install -m 0755 "$binary" "$scratch/root$name"
  pack "$scratch/root" "$scratch/image/layer/layer.tar" "${name#/}"
fi
digest=$(sha256sum "$scratch/image/layer/layer.tar" | cut -d' ' -f1)
config='{"architecture":"'$arch'","os":"linux","config":{"User":"65532:65532","Entrypoint":'$runs',"Cmd":'$arguments','
config+='"ExposedPorts":'$ports'},"rootfs":{"type":"layers","diff_ids":["sha256:'$digest'"]}}'
printf '%s' "$config" >"$scratch/image/config.json"
printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer/layer.tar"]}]' "$image" >"$scratch/image/manifest.json"
chmod 0644 "$scratch"/image/*.json "$scratch/image/layer/layer.tar"
pack "$scratch/image" "$scratch/image.tar" manifest.json config.json layer
mv "$scratch/image.tar" "$archive"
