#!/usr/bin/env bash
# `make down`: ends what `make up` started, and nothing else. Quiet and content when nothing runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tests/cluster/down.sh "${CLUSTER_DIR:-target/cluster}"
