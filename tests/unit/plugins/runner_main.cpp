#include "kernel/plugins/isolation/runner.hpp"

int main() { return holdfast::plugins::isolation::run_plugin(); }
