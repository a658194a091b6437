#!/usr/bin/env bash
# tests/fuzz/wire.sh BUILD_DIR [SECONDS]   Server-Sent Events, lines, WebSocket frames and handshakes, addresses: what reads the bytes of
# other machines, under libFuzzer with address and undefined sanitizers. 10 seconds unless told. Exit 77: clang-19 is not installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
build=$(cd "$1" && pwd)
seconds=${2:-10}
command -v clang++-19 >/dev/null || { echo "clang++-19 is not installed"; exit 77; }
work=$build/tests/fuzz/wire
mkdir -p "$work/corpus"
seed() { printf "$2" >"$work/corpus/$1"; }
seed sse '\0\5event: endpoint\ndata: /messages\n\n: ping\r\nid: 7\rdata: {"a":1}\ndata:b\nretry: 10\n\n'
seed lines '\1\3{"id":1}\n\r\n{"id":2}\r\n{'
seed frames '\2\2\201\002{}\001\001a\211\003now\000\001b\200\001c\201\176\001\004xxxx\210\005\003\351bye'
seed open '\3\4\201\002{}\212\000\210\002\003\350'
seed refused '\3\1HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\r\n'
seed address '\4\0wss://[::1]:8443/mcp?key=x'
seed unix '\4\0unix:///run/server.sock'
sources=("$here/wire_fuzz.cpp" "$root"/plugins/common/net-client/{http_client,http_text,sse,url}.cpp "$root"/plugins/common/net-stream/{address,lines}.cpp
    "$root"/plugins/transport-websocket/ws_{config,frames,framing,handshake}.cpp)
if [ ! -x "$work/fuzz" ] || [ -n "$(find "${sources[@]}" -newer "$work/fuzz")" ]; then
    clang++-19 -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -I"$root/plugins/common" -I"$root/plugins" -I"$root/plugin-sdk/include" \
        -include "$root/cmake/pch.hpp" -o "$work/fuzz" "${sources[@]}" -lcrypto -lcurl
fi
exec "$work/fuzz" -max_total_time="$seconds" -timeout=10 -error_exitcode=1 -timeout_exitcode=1 -max_len=4096 -rss_limit_mb=2048 -artifact_prefix="$work/" -print_final_stats=1 "$work/corpus"
