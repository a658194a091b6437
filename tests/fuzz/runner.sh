#!/usr/bin/env bash
# tests/fuzz/runner.sh BUILD_DIR [SECONDS]   The host's side of the runner protocol under libFuzzer with address, undefined and leak
# sanitizers, from a corpus of what real runners said (tests/fuzz/runner_traffic.txt). 5 seconds unless told. Exit 77: clang-19 is not
# installed. What it finds stays in BUILD_DIR/tests/fuzz/runner; give such a file instead of SECONDS to see it again.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
build=$(cd "$1" && pwd)
seconds=${2:-5}
command -v clang++-19 >/dev/null || { echo "clang++-19 is not installed"; exit 77; }
work=$build/tests/fuzz/runner
mkdir -p "$work/corpus" "$work/seeds" "$work/objects"
sources=("$here/runner_fuzz.cpp" "$root"/host/kernel/plugins/isolation/{proxy,proxy_services,proxy_tables,channel,wire}.cpp
         "$root/host/kernel/plugins/abi_errors.cpp" "$root"/host/kernel/core/*.cpp)
flags=(-std=c++20 -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
       -I"$root/host" -I"$root/plugin-sdk/include" -include "$root/cmake/pch.hpp")
if [ ! -x "$work/fuzz" ] || [ -n "$(find "${sources[@]}" "$here" "$root/host/kernel" "$root/plugin-sdk/include" -newer "$work/fuzz" \( -name '*.?pp' -o -name '*.h' \))" ]; then
    compiler=(clang++-19)
    command -v ccache >/dev/null && compiler=(ccache clang++-19)
    for source in "${sources[@]}"; do printf '%s\0' "$source"; done |
        xargs -0 -P "$(nproc)" -I{} sh -c 'source=$1; shift; out=$1/$(basename "$source" .cpp).o; shift; exec "$@" -c -o "$out" "$source"' sh {} "$work/objects" "${compiler[@]}" "${flags[@]}"
    clang++-19 -fsanitize=fuzzer,address,undefined -o "$work/fuzz" "$work"/objects/*.o
fi
python3 "$here/runner_seeds.py" "$here/runner_traffic.txt" "$work/seeds"
[ ! -f "$seconds" ] || exec "$work/fuzz" "$seconds"
exec "$work/fuzz" -max_total_time="$seconds" -timeout=30 -error_exitcode=1 -timeout_exitcode=1 -max_len=8192 -rss_limit_mb=2048 -artifact_prefix="$work/" -print_final_stats=1 "$work/corpus" "$work/seeds"
