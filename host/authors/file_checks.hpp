#pragma once
// What can be judged about a plugin file without running it: the group "file" of `plugin check`.
#include <string>
#include <vector>

#include "authors/inspect.hpp"

namespace holdfast::authors {

struct file_check {
    const char* name;  ///< "file.exports_the_two_symbols_only"
    /// A sentence that says what is wrong and what to do; empty: passed.
    std::string (*judge)(const plugin_file_facts& f);
    bool fatal;  ///< when it fails, nothing of the file can be run
};

/// In the order in which one needs the other.
const std::vector<file_check>& file_checks();

}  // namespace holdfast::authors
