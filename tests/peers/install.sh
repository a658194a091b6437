#!/bin/sh
# Installs the peers other people wrote that the integration tests talk to. Run it once; a second run does nothing.
# Exit 77: the node that is here is too old for them (Debian 12's own is 18).
# Tests whose peer is not installed say so and are skipped. HOLDFAST_PEERS names another place than ~/.cache/holdfast-peers.
set -eu
dir=${HOLDFAST_PEERS:-${HOME}/.cache/holdfast-peers}
packages='@copilotkit/aimock @modelcontextprotocol/server-everything @modelcontextprotocol/server-filesystem @modelcontextprotocol/sdk @modelcontextprotocol/client @modelcontextprotocol/server @modelcontextprotocol/node'
# What the peers themselves use: zlib.crc32 and the global crypto.
if command -v node >/dev/null && ! node -e 'process.exit(require("zlib").crc32 && globalThis.crypto ? 0 : 1)'; then
    echo "the peers need node 20.15 or newer and $(command -v node) is $(node --version): tests against them are skipped" >&2
    exit 77
fi
missing=
for p in $packages; do
    [ -f "$dir/node_modules/$p/package.json" ] || missing="$missing $p"
done
if [ -z "$missing" ]; then
    echo "peers are installed in $dir"
    exit 0
fi
command -v npm >/dev/null || { echo 'npm is needed to install the peers (package npm; node 20.15 or newer)' >&2; exit 1; }
mkdir -p "$dir"
# shellcheck disable=SC2086 -- a list of words
exec npm install --no-fund --no-audit --prefix "$dir" $missing
