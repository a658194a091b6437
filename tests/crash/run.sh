#!/bin/sh
# tests/crash/run.sh BUILD_DIR [KILLS] [more options of crash.mjs]     exit 77: node is missing
set -e
command -v node >/dev/null || { echo "node is missing: apt-get install -y nodejs"; exit 77; }
build=$1
kills=${2:-200}
[ -x "$build/holdfast" ] || { echo "usage: $0 BUILD_DIR [KILLS]; $build/holdfast is not there"; exit 2; }
shift
[ $# -gt 0 ] && shift
exec node "$(dirname "$0")/crash.mjs" "$build" --kills "$kills" "$@"
