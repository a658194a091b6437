#!/usr/bin/env bash
# tests/fuzz/manifest.sh BUILD_DIR [SECONDS]   The manifest reader under libFuzzer with address and undefined sanitizers, from a
# corpus of the build's own test plugins. 5 seconds unless told. Exit 77: clang-19 is not installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
build=$(cd "$1" && pwd)
seconds=${2:-5}
command -v clang++-19 >/dev/null || { echo "clang++-19 is not installed"; exit 77; }
work=$build/tests/fuzz/manifest
mkdir -p "$work/corpus"
# Small enough to be mutated well: the two symbols and little else.
for kind in good stripped; do
    [ -f "$work/corpus/$kind.so" ] && continue
    flags=(); [ $kind = good ] || flags=(-s -Wl,--hash-style=sysv)
    clang-19 -shared -fPIC -nostdlib "${flags[@]}" -x c -o "$work/corpus/$kind.so" - <<'C'
const char hf_plugin_manifest[] = "{\"id\":\"x\",\"kind\":\"llm\",\"version\":\"1\",\"abi\":[1,1],\"interfaces\":[\"hf.llm/1\"],\"needs\":[],\"settings\":{\"type\":\"object\"}}";
const long hf_plugin_entry_v1[4] = {32};
C
done
printf '{"id":"x","kind":"llm","version":"1","abi":[1,1],"interfaces":["hf.llm/1"],"check":{}}' >"$work/corpus/manifest.json"
if [ ! -x "$work/fuzz" ] || [ -n "$(find "$here/manifest_fuzz.cpp" "$root/host/kernel/plugins/manifest.cpp" "$root/host/authors/elf_report.cpp" "$root/host/kernel/core" -newer "$work/fuzz" -name '*.cpp')" ]; then
    clang++-19 -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -I"$root/host" -include algorithm -include cstring \
        -include cstdint -include map -include memory -include optional -include functional -include chrono -include nlohmann/json.hpp -o "$work/fuzz" \
        "$here/manifest_fuzz.cpp" "$root/host/kernel/plugins/manifest.cpp" "$root/host/authors/elf_report.cpp" "$root"/host/kernel/core/*.cpp
fi
exec "$work/fuzz" -max_total_time="$seconds" -timeout=10 -error_exitcode=1 -timeout_exitcode=1 -max_len=65536 -rss_limit_mb=2048 -artifact_prefix="$work/" -print_final_stats=1 "$work/corpus"
