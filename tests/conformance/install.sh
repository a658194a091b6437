#!/bin/sh
# Installs the official conformance suite and the node it needs, by name, and prints the command that runs it (one word a
# line: node, then the script). A second run only prints. HOLDFAST_PEERS names another place than ~/.cache/holdfast-peers.
# Exit 77: it is not installed and no registry can be reached.
set -eu
dir=${HOLDFAST_PEERS:-${HOME}/.cache/holdfast-peers}/conformance
suite='@modelcontextprotocol/conformance' version=0.2.0-alpha.12 node=22
script=$dir/node_modules/$suite/dist/index.js
# The package "node" is a node for this machine; what Debian 12 has is too old.
runs() { [ -f "$script" ] && grep -q "\"version\": *\"$version\"" "$dir/node_modules/$suite/package.json" && "$dir/node_modules/.bin/node" -e 'process.exit(+process.versions.node.split(".")[0] >= 22 ? 0 : 1)' 2>/dev/null; }
if ! runs; then
    command -v npm >/dev/null || { echo 'npm is needed to install the conformance suite (package npm)' >&2; exit 77; }
    mkdir -p "$dir"
    # Two tests may want it at the same time.
    exec 9>"$dir/lock"
    flock 9
    if ! runs; then
        [ -f "$dir/package.json" ] || echo '{"private":true}' >"$dir/package.json"
        if ! npm install --no-fund --no-audit --loglevel=error --prefix "$dir" "node@$node" "$suite@$version" >"$dir/install.log" 2>&1; then
            npm ping >/dev/null 2>&1 || { echo 'the conformance suite is not installed and npm cannot be reached' >&2; exit 77; }
            cat "$dir/install.log" >&2
            exit 1
        fi
    fi
    exec 9>&-
fi
printf '%s\n%s\n' "$dir/node_modules/.bin/node" "$script"
