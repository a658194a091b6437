#!/bin/sh
# tests/e2e/run.sh BUILD_DIR [FILE…]   The end-to-end tests (all of them, or those named) against the programs of a build.
# Installs what is missing: node and tmux from Debian, the peers from npm (tests/peers/install.sh). Ends with "N passed, N failed".
# Exit 77: what the tests need cannot be had here, because no registry can be reached.
# HOLDFAST_TEST_PARTS: where plugins/ and fakes/ of the tests are, if not BUILD_DIR/tests.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { echo "usage: $0 BUILD_DIR [FILE…]" >&2; exit 64; }
HOLDFAST_BUILD=$(cd "$1" && pwd)
export HOLDFAST_BUILD
shift
[ -x "$HOLDFAST_BUILD/holdfast" ] || { echo "no holdfast in $HOLDFAST_BUILD: build it first" >&2; exit 1; }

missing=
for pair in node:nodejs npm:npm tmux:tmux; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair##*:}"
done
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086 -- a list of words
    apt-get install -y --no-install-recommends $missing >/dev/null 2>&1 || { apt-get update >/dev/null 2>&1 && apt-get install -y --no-install-recommends $missing >/dev/null 2>&1; } ||
        { echo "missing and not to be installed here:$missing"; exit 77; }
fi
[ $# -gt 0 ] || set -- "$here"/*.test.mjs
for file in "$@"; do
    case $file in *peers*)
        if said=$("$here/../peers/install.sh" 2>&1); then :; else
            [ $? -ne 77 ] || { echo "$said"; exit 77; }
            npm ping >/dev/null 2>&1 || { echo "the peers are not installed and npm cannot be reached"; exit 77; }
            echo "$said" >&2
            exit 1
        fi ;;
    esac
done
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cd "$here"
status=0
node --test --test-concurrency=1 --test-reporter=tap "$@" >"$log" 2>&1 || status=$?
# Only what failed is worth reading in full.
grep -E '^ *(not )?ok |^ *# SKIP' "$log" | grep -v 'test\.mjs$' || true
[ "$status" -eq 0 ] || { echo '--- in full ---'; cat "$log"; }
number() { sed -n "s/^# $1 \([0-9]*\)\$/\1/p" "$log" | tail -1; }
passed=$(number pass) failed=$(number fail)
echo "${passed:-0} passed, ${failed:-1} failed"
exit "$status"
