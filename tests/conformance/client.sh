#!/bin/sh
# tests/conformance/client.sh CLIENT REVISION [SCENARIO…]   The official suite against our client: all that REVISION
# ("2025-11-25", "2026-07-28") requires, or the scenarios named, at that revision. Without a list of expected failures.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || { echo "usage: $0 CLIENT REVISION [SCENARIO…]" >&2; exit 64; }
client=$1 revision=$2
shift 2
command=$("$here/install.sh") || exit $?
node=$(echo "$command" | sed -n 1p) script=$(echo "$command" | sed -n 2p)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if [ $# -eq 0 ]; then
    "$node" "$script" client --command "$client" --requirements "$revision" >"$log" 2>&1 && status=0 || status=$?
    [ "$status" -eq 0 ] || cat "$log"
    # What is not scored is listed once more below the summary.
    scored=$(sed -n '/=== SUITE SUMMARY/,$p' "$log" | sed 's/ (.*)$//; s/: .*//' | grep -E '^ *[✓✗] ' | sed 's/^ *//' | sort | uniq -u)
    echo "$revision: $(echo "$scored" | grep -c '^✓') of $(echo "$scored" | grep -c .) scenarios passed"
    exit "$status"
fi
failed=0
for scenario in "$@"; do
    if "$node" "$script" client --command "$client" --scenario "$scenario" --spec-version "$revision" >"$log" 2>&1; then
        echo "ok $scenario"
    else
        failed=$((failed + 1))
        echo "not ok $scenario"
        cat "$log"
    fi
done
echo "$(($# - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
