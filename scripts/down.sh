#!/usr/bin/env bash
# `make down`: ends what `make up` started, with NODE=1 or without, and nothing else. Quiet and content when nothing runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
dir=${CLUSTER_DIR:-target/cluster}
tests/cluster/node/down.sh "$dir"
tests/cluster/down.sh "$dir"
