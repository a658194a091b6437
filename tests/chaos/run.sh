#!/bin/sh
# tests/chaos/run.sh BUILD_DIR storm|restarts|orphans|together [--seconds N] [--servers N] [--times N] [--seed N]
# One of the chaos tests against the programs of a build. Prints what happened; exit 0 when every promise was kept.
# Exit 77: node cannot be had here.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || { echo "usage: $0 BUILD_DIR storm|restarts|orphans|together [options]" >&2; exit 64; }
HOLDFAST_BUILD=$(cd "$1" && pwd)
export HOLDFAST_BUILD
shift
[ -x "$HOLDFAST_BUILD/holdfast" ] && [ -x "$HOLDFAST_BUILD/tests/chaos/chaos_server" ] || { echo "build holdfast and chaos_server first" >&2; exit 1; }
command -v node >/dev/null || apt-get install -y --no-install-recommends nodejs >/dev/null 2>&1 ||
    { apt-get update >/dev/null 2>&1 && apt-get install -y --no-install-recommends nodejs >/dev/null 2>&1; } || { echo "node cannot be installed here"; exit 77; }
exec node "$here/chaos.mjs" "$@"
