#!/usr/bin/env bash
# tests/bench/run.sh [--short] [--out FILE] [--rounds N] [--no-build] [--build-dir DIR] [--keep DIR] [--only REGEX]
# Builds the benchmarks (preset release), runs ours and, where they are installed, the peers' alternately, and prints a table:
# figure, ours, goal, peer, ratio, met or not.
#   --short      a few seconds of each of ours, no peers, no table; fails when one crashes or sees an order error, never on a time
#   --out FILE   writes the whole report there (tests/bench/RESULTS.md is one)
#   --rounds N   how often everything runs; the table holds medians (default 3)
#   --keep DIR   leaves what the programs printed there
#   --only REGEX runs only these programs (events_bench, pubsub_local, host_bench …) and joins them with what --keep DIR has of the others
# Peers: elixir (Debian), go and node/npm. PHOENIX_PUBSUB=DIR: compiled modules of Phoenix.PubSub (peers/README.md); hex is not asked.
# A peer that is not there is skipped, and the report says so.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
source_dir=$(cd "$here/../.." && pwd)
short= out= rounds=3 build=1 dir=$source_dir/build/release keep= only=
while [ $# -gt 0 ]; do
    case $1 in
        --short) short=1 ;;
        --out) out=$2; shift ;;
        --rounds) rounds=$2; shift ;;
        --no-build) build= ;;
        --build-dir) dir=$2; shift ;;
        --keep) keep=$2; shift ;;
        --only) only=$2; shift ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
        *) echo "unknown argument $1; see $0 --help" >&2; exit 64 ;;
    esac
    shift
done
if [ -n "$build" ]; then
    (cd "$source_dir" && { [ -f "$dir/build.ninja" ] || cmake --preset release; } >/dev/null &&
        cmake --build "$dir" --target events_bench runtime_bench plugin_call_bench isolation_bench breaker_bench holdfast holdfast-demo-server sessions_test) >&2
fi
bench=$dir/tests/bench
for p in events_bench runtime_bench plugin_call_bench isolation_bench breaker_bench; do
    [ -x "$bench/$p" ] || { echo "$bench/$p is not there: build it first (HOLDFAST_BENCH=ON)" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
raw=${keep:-$work/raw}
mkdir -p "$raw"
raw=$(cd "$raw" && pwd)
[ -n "$only" ] || rm -f "$raw"/*.txt
rm -f "$raw/notes.txt"
declare -A begun
note() { echo "$*" >>"$raw/notes.txt"; echo "note: $*" >&2; }
failures=0

# measure SIDE PROGRAM VARIANT COMMAND…   → raw/ROUND.SIDE.PROGRAM.VARIANT.txt
round=0
measure() {
    local side=$1 program=$2 variant=$3 file
    shift 3
    [[ -z $only || $program =~ $only ]] || return 0
    file=$raw/$round.$side.$program.$variant.txt
    # What an earlier run left there goes; a program may run several times in a round.
    [ -n "${begun[$file]:-}" ] || { begun[$file]=1; rm -f "$raw/$round.$side.$program".*.txt; }
    printf '%s  round %s  %-5s %s\n' "$(date +%H:%M:%S)" "$round" "$side" "$program" >&2
    echo "LOAD $(cut -d' ' -f1 /proc/loadavg)" >>"$file"
    if ! timeout 900 "$@" >>"$file" 2>"$file.err" || ! grep -q '^RESULT' "$file" || grep -qE 'ERROR OCCURRED|order_errors=[1-9]|^FAILED|ok=0' "$file"; then
        echo "FAILED: $*" >&2
        tail -n 30 "$file" "$file.err" >&2
        [ "$side" = peer ] && note "$program failed and is left out of round $round" || failures=$((failures + 1))
    fi
    rm -f "$file.err"
}
ours() { measure ours "$1" x "$bench/$@"; }
session_heap() {
    local program=$dir/tests/unit/sessions/sessions_test
    if [ -x "$program" ]; then measure ours session_heap x "$program" --gtest_filter='memory_test.*'
    else note "what the allocator hands out for a session: skipped, sessions_test is not built"; fi
}
host_bench() {
    if command -v node >/dev/null && [ -x "$dir/holdfast" ] && [ -x "$dir/holdfast-demo-server" ]; then
        measure ours host_bench x node "$here/host_bench.mjs" "$dir" "$@"
    else
        note "figures of the running host: skipped, node or the host's program is missing"
    fi
}

if [ -n "$short" ]; then
    export DELIVERIES=20000 REPS=1
    ours events_bench --benchmark_min_time=0.01
    ours runtime_bench --benchmark_filter='-100000'
    ours plugin_call_bench --benchmark_min_time=0.01
    ours isolation_bench "$dir" 200
    ours breaker_bench --benchmark_min_time=0.01
    host_bench --short
    [ "$failures" = 0 ] || { echo "$failures failed" >&2; exit 1; }
    echo "every benchmark ran to its end, without order errors"
    exit 0
fi

# ---- which peers there are
elixir= gobreaker= goplugin= breakers=
if command -v elixir >/dev/null; then
    elixir=1
    phoenix=()
    if [ -n "${PHOENIX_PUBSUB:-}" ] && [ -f "$PHOENIX_PUBSUB/Elixir.Phoenix.PubSub.beam" ]; then
        phoenix=(-pa "$PHOENIX_PUBSUB")
    else
        note "Phoenix.PubSub: its compiled modules are not at hand (PHOENIX_PUBSUB) and hex is not asked; W1 is compared with the Elixir Registry dispatch that it is built on"
    fi
else
    note "Elixir: skipped, not installed (apt-get install elixir)"
fi
# Sets VARIABLE to the program built of peers/DIRECTORY.
go_peer() {
    if command -v go >/dev/null && cp -r "$here/peers/$2" "$work/go-$2" && (cd "$work/go-$2" && go build -o peer .) >"$work/go-$2.log" 2>&1; then
        printf -v "$1" %s "$work/go-$2/peer"
    else
        note "$3: skipped, go is not installed or the module proxy cannot be reached"
    fi
}
go_peer gobreaker breaker gobreaker
go_peer goplugin goplugin go-plugin
if command -v npm >/dev/null && mkdir "$work/npm" && cp "$here/peers/breaker/package.json" "$here/peers/breaker/node_bench.mjs" "$work/npm/" &&
    (cd "$work/npm" && npm install --no-audit --no-fund) >"$work/npm.log" 2>&1; then
    breakers=$work/npm
else
    note "opossum, cockatiel: skipped, npm is not installed or its registry cannot be reached"
fi

no_spin="+sbwt none +sbwtdcpu none +sbwtdio none"
# Odd rounds without scheduler spinning (CPU figures are taken from these alone), even ones with it, as it is by default.
otp() {
    [ -n "$elixir" ] || return 0
    local script=$1
    shift
    if [ $((round % 2)) = 1 ]; then
        ERL_FLAGS=$no_spin measure peer "${script%.exs}" nospin elixir "${phoenix[@]}" "$here/peers/$script" "$@"
    else
        measure peer "${script%.exs}" spin elixir "${phoenix[@]}" "$here/peers/$script" "$@"
    fi
}

for round in $(seq "$rounds"); do
    REPS=3 ours events_bench --benchmark_filter='W1'
    REPS=1 MODES=${phoenix:+phx_local,}reg otp pubsub_local.exs
    ours runtime_bench --benchmark_filter='W2'
    CRASHES=5000 otp supervisor_restart.exs
    ours runtime_bench --benchmark_filter='W3'
    for mode in bare state hib; do otp sessions.exs "$mode" 10000; done
    ours runtime_bench --benchmark_filter='W4'
    REPS=3 otp messaging.exs
    ours runtime_bench --benchmark_filter='W5'
    CRASHES=1000 otp os_process.exs
    ours breaker_bench --benchmark_min_time=0.3
    [ -z "$gobreaker" ] || N=300000 measure peer gobreaker x "$gobreaker"
    [ -z "$breakers" ] || (cd "$breakers" && N=50000 measure peer node_breakers x node node_bench.mjs)
    ours plugin_call_bench --benchmark_min_time=0.3
    ours isolation_bench "$dir"
    [ -z "$goplugin" ] || measure peer goplugin x "$goplugin"
    session_heap
    host_bench
done

# Its own rounds, its own peers, its own table.
gateway=$raw/gateway.md
if [[ -z $only || gateway_bench =~ $only ]]; then
    rm -f "$gateway"
    if command -v node >/dev/null && "$here/gateway_bench.sh" "$dir" --rounds "$rounds" --conc 1,64 --quiet-wait 20 >"$work/gateway.md" 2>"$work/gateway.err"; then
        cp "$work/gateway.md" "$gateway"
    else
        note "the gateway beside mcp-proxy and supergateway: skipped, $(tail -1 "$work/gateway.err" 2>/dev/null || echo 'node is not installed')"
    fi
fi

version() { "$@" 2>/dev/null | head -1; }
{
    echo "machine=$(nproc) virtual cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)), $(awk '/MemTotal/{printf "%.0f", $2/1048576}' /proc/meminfo) GiB, Linux $(uname -r | cut -d- -f1)"
    echo "date=$(date -u +%Y-%m-%d)"
    echo "commit=$(git -C "$source_dir" rev-parse --short HEAD 2>/dev/null || echo none)$(git -C "$source_dir" diff --quiet HEAD -- host plugin-sdk plugins 2>/dev/null || echo ' with changes not committed')"
    echo "rounds=$rounds"
    echo "ours=$(version c++ --version), Boost $(sed -n 's/^#define BOOST_LIB_VERSION "\(.*\)"/\1/p' /usr/include/boost/version.hpp 2>/dev/null | tr _ .), $(sed -n 's/^CMAKE_BUILD_TYPE:[^=]*=//p' "$dir/CMakeCache.txt") $(sed -n 's/^CMAKE_CXX_FLAGS_RELWITHDEBINFO:[^=]*=//p' "$dir/CMakeCache.txt")"
    [ -z "$elixir" ] || echo "elixir=$(elixir --version 2>/dev/null | grep -E '^(Erlang|Elixir)' | sed 's/ \[source\].*//; s/ (compiled.*//' | paste -sd, | sed 's/,/, /')"
    [ -z "${phoenix:-}" ] || echo "phoenix=Phoenix.PubSub${PHOENIX_PUBSUB_VERSION:+ $PHOENIX_PUBSUB_VERSION}"
    [ -z "$gobreaker" ] || echo "gobreaker=gobreaker $(sed -n 's/.*gobreaker v/v/p' "$here/peers/breaker/go.mod"), $(version go version | cut -d' ' -f3)"
    [ -z "$goplugin" ] || echo "goplugin=go-plugin $(sed -n 's/.*hashicorp\/go-plugin v/v/p' "$here/peers/goplugin/go.mod")"
    [ -z "$breakers" ] || echo "node=opossum $(sed -n 's/.*"opossum": "\(.*\)".*/\1/p' "$here/peers/breaker/package.json"), cockatiel $(sed -n 's/.*"cockatiel": "\([^"]*\)".*/\1/p' "$here/peers/breaker/package.json"), Node $(node --version)"
} >"$raw/about.txt"
PYTHONDONTWRITEBYTECODE=1 python3 "$here/table.py" "$raw" ${out:+--out "$out"}
[ ! -s "$gateway" ] || cat "$here/gateway.md" "$gateway" >>"${out:-/dev/stdout}"
cat "$here/long_runs.md" >>"${out:-/dev/stdout}"
[ "$failures" = 0 ] || { echo "$failures of ours failed" >&2; exit 1; }
