# Shared by ./run, ./test and the long suites: Debian packages by name, configure, build. To be sourced.

build_packages=(g++ cmake ninja-build ccache pkg-config libboost1.81-dev nlohmann-json3-dev libspdlog-dev libcli11-dev
    libexpected-dev libcurl4-openssl-dev libssl-dev libsqlite3-dev libseccomp-dev libdw-dev)
test_packages=(libgtest-dev librapidcheck-dev libbenchmark-dev libvalijson-dev nodejs npm tmux python3 strace procps chromium clang-19 libc++-19-dev libc++abi-19-dev rustc)
sanitizer_packages=(clang-19 libclang-rt-19-dev llvm-19)  # tests/sanitizers/run.sh

# install_packages name…: only what is missing.
install_packages() {
    local missing=() p
    for p in "$@"; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p")
    done
    # A program that is there already need not come from Debian.
    local wanted=()
    for p in "${missing[@]}"; do
        case $p in nodejs) command -v node >/dev/null && continue ;; npm) command -v npm >/dev/null && continue ;; rustc) command -v rustc >/dev/null && continue ;; esac
        wanted+=("$p")
    done
    [ ${#wanted[@]} -eq 0 ] && return 0
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    if ! command -v apt-get >/dev/null || { [ ${#sudo[@]} -gt 0 ] && ! command -v sudo >/dev/null; }; then
        echo "These Debian 12 packages are missing, and only root can install them. As root, once:" >&2
        echo "  apt-get update && apt-get install -y --no-install-recommends ${wanted[*]}" >&2
        echo "Then start this again as $(id -un)." >&2
        return 1
    fi
    echo "Installing: ${wanted[*]}" >&2
    "${sudo[@]}" apt-get update -qq
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
}

install_build_packages() { install_packages "${build_packages[@]}"; }
install_test_packages() { install_packages "${build_packages[@]}" "${test_packages[@]}"; }

# build preset [target]: configure (cheap when nothing changed) and build with progress.
build() {
    local preset=$1 target=${2:-all} tests=OFF
    # A machine that only runs the host needs no test packages.
    if [ "$target" = all ]; then tests=ON; elif [ -f "build/$preset/CMakeCache.txt" ]; then
        tests=$(sed -n 's/^HOLDFAST_TESTS:BOOL=//p' "build/$preset/CMakeCache.txt")
    fi
    cmake --preset "$preset" -DHOLDFAST_TESTS="$tests" -DHOLDFAST_BENCH="$tests" >"/tmp/holdfast-configure-$$.log" 2>&1 || {
        cat "/tmp/holdfast-configure-$$.log" >&2
        return 1
    }
    rm -f "/tmp/holdfast-configure-$$.log"
    cmake --build "build/$preset" --target "$target" -j "$(nproc)"
}
