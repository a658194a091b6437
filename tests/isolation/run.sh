#!/bin/sh
# tests/isolation/run.sh BUILD_DIR [DEATHS]   A plugin in a process of its own dies DEATHS times (default 1000), in ways chosen at random,
# while another one serves calls. Fails when one of those fails, or when descriptors, threads, processes or files are left behind.
set -eu
[ $# -ge 1 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 64; }
HF_TEST_DEATHS=${2:-1000} exec "$1/tests/unit/plugins/plugin_set_test" --gtest_filter='isolated.random_deaths*'
