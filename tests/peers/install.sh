#!/bin/sh
# Installs the peers other people wrote that the integration tests talk to. Run it once; a second run does nothing.
# Tests whose peer is not installed say so and are skipped. HOLDFAST_PEERS names another place than ~/.cache/holdfast-peers.
set -eu
dir=${HOLDFAST_PEERS:-${HOME}/.cache/holdfast-peers}
packages='@copilotkit/aimock @modelcontextprotocol/server-everything @modelcontextprotocol/server-filesystem'
missing=
for p in $packages; do
    [ -f "$dir/node_modules/$p/package.json" ] || missing="$missing $p"
done
if [ -z "$missing" ]; then
    echo "peers are installed in $dir"
    exit 0
fi
command -v npm >/dev/null || { echo 'npm is needed to install the peers (package nodejs, version 20 or newer)' >&2; exit 1; }
mkdir -p "$dir"
# shellcheck disable=SC2086 -- a list of words
exec npm install --no-fund --no-audit --prefix "$dir" $missing
