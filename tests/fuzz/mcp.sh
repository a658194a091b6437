#!/usr/bin/env bash
# tests/fuzz/mcp.sh BUILD_DIR [SECONDS]   JSON-RPC and the client's side of the protocol under libFuzzer with address and undefined
# sanitizers, from scripts of whole conversations. 10 seconds unless told. Exit 77: clang-19 is not installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
build=$(cd "$1" && pwd)
seconds=${2:-10}
command -v clang++-19 >/dev/null || { echo "clang++-19 is not installed"; exit 77; }
work=$build/tests/fuzz/mcp
mkdir -p "$work/corpus"
python3 "$here/mcp_seeds.py" "$work/corpus"
sources=("$here/mcp_fuzz.cpp" "$root"/host/mcp/{json_rpc,era,definition}.cpp "$root"/host/mcp/client_*.cpp "$root"/host/kernel/core/{error,json}.cpp)
if [ ! -x "$work/fuzz" ] || [ -n "$(find "${sources[@]}" "$root/host/mcp" -newer "$work/fuzz" -name '*.[ch]pp')" ]; then
    objects=()
    for source in "${sources[@]}"; do
        object=$work/$(basename "$source" .cpp).o
        objects+=("$object")
        [ "$object" -nt "$source" ] && [ -z "$(find "$root/host/mcp" -newer "$object" -name '*.hpp')" ] && continue
        ccache clang++-19 -std=c++20 -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -I"$root/host" -I"$root/plugin-sdk/include" \
            -include algorithm -include cstring -include cstdint -include map -include memory -include optional -include functional -include chrono \
            -include nlohmann/json.hpp -c -o "$object" "$source"
    done
    clang++-19 -fsanitize=fuzzer,address,undefined -o "$work/fuzz" "${objects[@]}" -lcrypto
fi
exec "$work/fuzz" -max_total_time="$seconds" -timeout=10 -error_exitcode=1 -timeout_exitcode=1 -max_len=16384 -rss_limit_mb=2048 -artifact_prefix="$work/" -print_final_stats=1 "$work/corpus"
