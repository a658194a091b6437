#!/usr/bin/env bash
# tests/fuzz/run.sh NAME|all [SECONDS|FILE] [libFuzzer arguments]     a target of tests/fuzz/CMakeLists.txt under libFuzzer with
# AddressSanitizer, UBSan and LeakSanitizer, 60 seconds unless told; or one input again: run.sh runner build/fuzz/tests/fuzz/runner/crash-…
# Installs what is missing and builds that target alone. Corpus and findings stay in build/fuzz/tests/fuzz/NAME.
set -euo pipefail
cd "$(dirname "$0")/../.."
names=$(sed -n 's/^holdfast_fuzzer(\([a-z]*\) .*/\1/p' tests/fuzz/CMakeLists.txt)
what=${1:-}
[ "$what" = all ] || { [ -n "$what" ] && grep -qx "$what" <<<"$names" && names=$what; } || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2; echo "targets:" $names >&2; exit 64; }
how=${2:-60}
shift; [ $# -eq 0 ] || shift

. scripts/setup.sh
install_packages "${build_packages[@]}" "${test_packages[@]}" "${sanitizer_packages[@]}"
cmake --preset fuzz >/dev/null
cmake --build build/fuzz -j "$(nproc)" --target $(printf 'fuzz_%s ' $names)

# In the terminal, and also what the tests leave to the programs.
export ASAN_OPTIONS=log_path=stderr:handle_segv=1:handle_sigbus=1:handle_sigfpe=1
for name in $names; do
    program=build/fuzz/tests/fuzz/fuzz_$name
    work=build/fuzz/tests/fuzz/$name
    mkdir -p "$work/corpus"
    arguments=(-timeout=30 -rss_limit_mb=2048 -max_len=16384 -artifact_prefix="$work/" -print_final_stats=1)
    [ ! -f "tests/fuzz/$name.dict" ] || arguments+=(-dict="tests/fuzz/$name.dict")
    if [ -f "$how" ]; then "$program" "${arguments[@]}" "$@" "$how"
    else "$program" -max_total_time="$how" "${arguments[@]}" "$@" "$work/corpus" "$work/seeds"; fi
done
