#!/bin/sh
# tests/conformance/server.sh HOLDFAST DEMO_SERVER REVISION   The official suite against the gateway in front of the bundled server:
# all that REVISION ("2025-11-25", "2026-07-28") requires. Without a list of expected failures.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -eq 3 ] || { echo "usage: $0 HOLDFAST DEMO_SERVER REVISION" >&2; exit 64; }
holdfast=$1 demo=$2 revision=$3
command=$("$here/install.sh") || exit $?
node=$(echo "$command" | sed -n 1p) script=$(echo "$command" | sed -n 2p)
dir=$(mktemp -d)
host=
stop() {
    if [ -n "$host" ]; then
        kill "$host" 2>/dev/null || true
        wait "$host" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 1' INT TERM
cat >"$dir/holdfast.json" <<JSON
{ "host": { "data_dir": "$dir/data" }, "auth": { "mode": "none" },
  "plugins": { "web": { "use": "ui-http", "settings": { "listen": "127.0.0.1:0" } } },
  "gateway": { "prefix": "none" },
  "mcpServers": { "demo": { "command": "$demo", "args": ["--conformance"] } } }
JSON
"$holdfast" -c "$dir/holdfast.json" run >"$dir/log" 2>&1 &
host=$!
call() { "$holdfast" -c "$dir/holdfast.json" --json call "$@" 2>/dev/null; }
# The suite begins once the bundled server's tools are offered.
until call host.wait_ready >/dev/null && call gateway.status | grep -Eq '"tools": ?[1-9]'; do
    kill -0 "$host" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
    sleep 0.1
done
url=$(call host.info | grep -Eo 'http://127\.0\.0\.1:[0-9]+' | head -1)
(cd "$dir" && "$node" "$script" server --url "$url/mcp" --requirements "$revision") >"$dir/suite" 2>&1 && status=0 || status=$?
if [ "$status" -ne 0 ]; then
    cat "$dir/suite"
    tail -50 "$dir/log"
fi
# What is not required is run and shown, but does not count.
grep -c '^✓' "$dir/suite" || true
tail -3 "$dir/suite"
exit "$status"
