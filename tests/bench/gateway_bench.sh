#!/bin/sh
# tests/bench/gateway_bench.sh BUILD_DIR [bench.mjs' options, such as --rounds 3 --secs 2 --conc 1,64]
# The gateway in front of a stdio server of a few microseconds a call, and npm's mcp-proxy and supergateway in front of the same one, in the
# same run: CPU per call, latency, memory, cold start (mcp-load/README.md says how). Peers are installed by name; without npm only ours runs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { echo "usage: $0 BUILD_DIR [options]" >&2; exit 64; }
build=$(cd "$1" && pwd)
shift
for p in "$build/holdfast" "$build/plugins/ui-http.so" "$build/plugins/transport-stdio.so" "$build/plugins/store-memory.so"; do
    [ -e "$p" ] || { echo "$p is not there: build it first" >&2; exit 1; }
done
peers=${HOLDFAST_PEERS:-${HOME}/.cache/holdfast-peers}/gateways
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
${CC:-cc} -std=c11 -O2 -o "$work/mcp-load" "$here/mcp-load/mcp-load.c"
${CC:-cc} -std=gnu11 -O2 -o "$work/echo-stdio" "$here/mcp-load/echo-stdio.c"
if [ ! -d "$peers/node_modules/supergateway" ] && command -v npm >/dev/null; then
    mkdir -p "$peers"
    [ -f "$peers/package.json" ] || echo '{"private":true}' >"$peers/package.json"
    npm install --no-fund --no-audit --loglevel=error --prefix "$peers" mcp-proxy@6 supergateway@4 >/dev/null || echo "the peers cannot be installed: ours alone" >&2
fi
port() { node -e 'const s=require("net").createServer().listen(0,"127.0.0.1",()=>{console.log(s.address().port);s.close()})'; }
a=$(port) b=$(port) c=$(port)
cat >"$work/holdfast.json" <<JSON
{ "host": { "data_dir": "$work/data", "log": { "level": "warn" } }, "auth": { "mode": "none" },
  "plugins": { "web": { "use": "ui-http", "settings": { "listen": "127.0.0.1:$a" } } },
  "store": { "use": "store-memory" },
  "mcpServers": { "up": { "command": "$work/echo-stdio" } } }
JSON
node=$(command -v node)
{
    printf '[{"name":"Holdfast","cmd":["%s","--host-child","-c","%s","run","--quiet"],"url":"http://127.0.0.1:%s/mcp","protos":["2025-11-25","2026-07-28"],"args":["--tool","up__echo","--sessions","each"]}' "$build/holdfast" "$work/holdfast.json" "$a"
    if [ -d "$peers/node_modules/supergateway" ]; then
        printf ',{"name":"mcp-proxy","cmd":["%s","%s","--host","127.0.0.1","--port","%s","--server","stream","--","%s"],"url":"http://127.0.0.1:%s/mcp","protos":["2025-11-25"],"args":["--sessions","one"]}' "$node" "$peers/node_modules/mcp-proxy/dist/bin/mcp-proxy.mjs" "$b" "$work/echo-stdio" "$b"
        printf ',{"name":"supergateway","cmd":["%s","%s","--stdio","%s","--outputTransport","streamableHttp","--stateful","--port","%s","--logLevel","none"],"url":"http://127.0.0.1:%s/mcp","protos":["2025-11-25"],"args":["--sessions","one"]}' "$node" "$peers/node_modules/supergateway/dist/index.js" "$work/echo-stdio" "$c" "$c"
    fi
    printf ']\n'
} >"$work/targets.json"
commit=$(git -C "$here" describe --always --dirty 2>/dev/null || echo unknown)
echo "Measured on $(date -I) at commit $commit:"
cd "$work"
"$node" "$here/mcp-load/bench.mjs" --targets "$work/targets.json" --load "$work/mcp-load" "$@"
