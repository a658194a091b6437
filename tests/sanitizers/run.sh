#!/usr/bin/env bash
# tests/sanitizers/run.sh asan|tsan [ctest arguments]     every test but the benchmarks, under AddressSanitizer with UBSan and
#                                                         LeakSanitizer, or under ThreadSanitizer: … tsan -R supervise
# tests/sanitizers/run.sh short DIR CC CXX                what ./test runs: the kernel's threads, built in DIR under ThreadSanitizer
# The long forms install what is missing (clang-19 and its runtimes) and build the preset whole. All then read what the sanitizers
# wrote: the host and its children write to files, so a report counts even where the test around it passed.
set -euo pipefail
cd "$(dirname "$0")/../.."
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' tests/sanitizers/run.sh >&2; exit 64; }
kernel_tests=(events_test supervise_actor_test supervise_supervisor_test)

case ${1:-} in
    asan | tsan)
        dir=build/$1
        . scripts/setup.sh
        install_packages "${build_packages[@]}" "${test_packages[@]}" "${sanitizer_packages[@]}"
        tests/peers/install.sh >/dev/null || echo "npm packages could not be installed: tests against other people's servers are skipped" >&2
        build "$1"
        shift
        ;;
    short)
        [ $# -eq 4 ] || usage
        dir=$2
        cmake -S . -B "$dir" -G Ninja -DCMAKE_C_COMPILER="$3" -DCMAKE_CXX_COMPILER="$4" -DCMAKE_BUILD_TYPE=Debug \
            -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g1" -DHOLDFAST_SANITIZE=thread -DHOLDFAST_PATIENCE=8 >/dev/null
        cmake --build "$dir" --target "${kernel_tests[@]}" sanitizer_faults -j "$(nproc)" >/dev/null
        # Runtimes of older compilers cannot live with the address randomisation of newer kernels, nor every container without it.
        "$dir/tests/sanitizers/sanitizer_faults" || { echo "programs with ThreadSanitizer do not start on this machine"; exit 77; }
        shift 4
        set -- -R "^(sanitizer_reports_.*|$(IFS='|'; echo "${kernel_tests[*]}"))\$"
        ;;
    *) usage ;;
esac

reports=$dir/sanitizer-reports
rm -rf "$reports" && mkdir "$reports"
status=0
ctest --test-dir "$dir" --output-on-failure -j "${HOLDFAST_TEST_JOBS:-2}" "$@" || status=$?
found=$(find "$reports" -type f -size +0 | sort)
if [ -n "$found" ]; then
    echo "--- files with reports in $reports: $(wc -l <<<"$found"). Summaries, then the first file:"
    grep -rh '^SUMMARY' "$reports" | sort | uniq -c | sort -rn || true
    head -n 200 "$(head -n 1 <<<"$found")"
    exit 1
fi
[ "$status" -ne 0 ] || echo "clean: no sanitizer reported anything"
exit "$status"
