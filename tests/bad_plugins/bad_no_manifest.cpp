// An entry without a manifest, and a symbol that nobody asked for.
#include "allow_all.hpp"
extern "C" HF_EXPORT __attribute__((used)) const hf_entry hf_plugin_entry_v1 =
    holdfast::sdk::detail::entry_of<holdfast::bad::allow_all>::entry();
extern "C" HF_EXPORT __attribute__((used)) const int hf_bad_extra = 1;
