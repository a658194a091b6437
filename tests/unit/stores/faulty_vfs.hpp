#pragma once
// A file system for SQLite that fails on command, and that knows what a power cut would leave: what was synced, and any
// part of what was written since. The plugin uses it because it becomes SQLite's default in this process.
#include <random>
#include <string>

namespace faulty_vfs {

void install();  ///< once; harmless until a fault is set

void disk_full(bool on);           ///< every write fails with ENOSPC
void fail_syncs(int n);            ///< the next n syncs fail
void fail_writes(int n);           ///< the next n writes fail with EIO
void hold_syncs(bool on);          ///< syncs wait until it is off again
bool wait_for_held_sync();         ///< false after 20 s
int syncs();                       ///< so far

void record(const std::string& directory);  ///< from now on, files there that are opened; "" ends it
/// Writes into `to` what the disk may hold after a power cut at this moment. One consistent moment for all files.
void power_cut(const std::string& to, std::mt19937_64& random);

}  // namespace faulty_vfs
