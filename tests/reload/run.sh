#!/bin/sh
# tests/reload/run.sh BUILD_DIR [RELOADS] [CLIENTS]   Reloads ui-http, transport-stdio and llm-demo RELOADS times each (default 100) while CLIENTS
# (default 50) chat and call tools through them, in the host's process and (a third as often) in processes of their own. Fails when a call
# fails, an event is lost or doubled, or something is left behind.
set -eu
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 64; }
here=$(cd "$(dirname "$0")/.." && pwd)
HF_RELOADS=${2:-100} HF_CLIENTS=${3:-50} exec "$here/e2e/run.sh" "$(cd "$1" && pwd)" "$here/e2e/reload.test.mjs"
