// A manifest without an entry.
#include "holdfast/abi/plugin.h"
extern "C" HF_EXPORT __attribute__((used)) const char hf_plugin_manifest[] =
    R"({"id":"bad_no_entry","kind":"breaker","version":"1.0.0","abi":[1,1],"interfaces":["hf.breaker/1"]})";
