#!/usr/bin/env bash
# Installs MCP servers that other people wrote, for the tests of the probe (tests/probe.rs).
# In: npm, python3 with venv, go; the public registries, once. Out: a folder outside the repository, named by what is
# installed: ${XDG_CACHE_HOME:-~/.cache}/mcp-hangar/servers/<hash>/ with node/, python1/, python2/ and go-server; its
# path is the last line printed. What is there already is not installed again; two calls at once wait for each other.
set -euo pipefail

EVERYTHING=2026.8.31   # npm @modelcontextprotocol/server-everything
PYTHON_OLD=1.30.0      # PyPI mcp, which knows initialize only
PYTHON_NEW=2.3.0       # PyPI mcp, with the stateless protocol

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
hash=$(cat "$here/install.sh" "$here"/go/* | sha256sum | cut -c1-16)
folder="${XDG_CACHE_HOME:-$HOME/.cache}/mcp-hangar/servers/$hash"

if [ ! -e "$folder/complete" ]; then
    mkdir -p "$folder"
    exec 9>"$folder/lock"
    flock 9
    if [ ! -e "$folder/complete" ]; then
        echo "installing MCP servers of others into $folder: about two minutes, once" >&2
        npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$folder/node" \
            "@modelcontextprotocol/server-everything@$EVERYTHING" >&2
        python3 -m venv "$folder/python1"
        "$folder/python1/bin/pip" install --quiet --disable-pip-version-check "mcp==$PYTHON_OLD" >&2
        python3 -m venv "$folder/python2"
        "$folder/python2/bin/pip" install --quiet --disable-pip-version-check "mcp==$PYTHON_NEW" >&2
        (cd "$here/go" && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$folder/go-server" .) >&2
        touch "$folder/complete"
    fi
fi
echo "$folder"
