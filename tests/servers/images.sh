#!/usr/bin/env bash
# Puts MCP servers that other people wrote into container images, without Docker, for the tests on a node.
#
# In:  what install.sh installs; go; node with its shared libraries, from this machine.
# Out: stdout, a line each: archives that `docker load` and tests/cluster/node/load.sh take, kept beside what is installed. In them are
#      mcp-servers/go-everything:1    the Go SDK's example: a static binary; HTTP on port 8080 at every path; stdio when started with `-http=`
#      mcp-servers/node-everything:1  npm @modelcontextprotocol/server-everything: HTTP on the port in PORT at /mcp; stdio when started with `stdio`
#      What is there already is not made again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pack=$here/../../scripts/pack.sh
servers=$("$here/install.sh")
images=$servers/images-$(cat "$here/images.sh" "$pack" | sha256sum | cut -c1-16)
example=github.com/modelcontextprotocol/go-sdk/examples/server/everything

pack_go() {
  (cd "$here/go" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$scratch/everything" "$example") >&2
  "$pack" mcp-servers/go-everything:1 "$scratch/go-everything.tar" "$scratch/everything" '["-http",":8080"]' '{"8080/tcp":{}}'
}

# pack_node: the program, what it is linked with, and the packages.
pack_node() {
  local root=$scratch/root node library
  node=$(realpath "$(command -v node)")
  mkdir -p "$root/app" "$root/usr/bin"
  chmod -R 0755 "$root"
  install -m 0755 "$node" "$root/usr/bin/node"
  while read -r library; do install -D -m 0755 "$library" "$root$library"; done < <(ldd "$node" | grep -o '/[^ ]*')
  cp -r "$servers/node/node_modules" "$root/app/"
  ENTRYPOINT='["/usr/bin/node","/app/node_modules/@modelcontextprotocol/server-everything/dist/index.js"]' \
    "$pack" mcp-servers/node-everything:1 "$scratch/node-everything.tar" "$root" '["streamableHttp"]' '{"3001/tcp":{}}'
}

if [[ ! -e $images/node-everything.tar ]]; then
  exec 9>"$servers/lock" # two at once wait for each other
  flock 9
  if [[ ! -e $images/node-everything.tar ]]; then
    rm -rf "$servers"/images-*
    scratch=$(mktemp -d "$servers/making-XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    pack_go
    pack_node
    mkdir "$images"
    mv "$scratch/go-everything.tar" "$scratch/node-everything.tar" "$images/" # node's last: with it all is there
  fi
fi
printf '%s\n' "$images"/*.tar
