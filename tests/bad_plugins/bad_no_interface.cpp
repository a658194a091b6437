// Promises hf.llm/1 and has nothing.
#include "holdfast/plugin.hpp"
struct hollow : holdfast::sdk::plugin {
    using plugin::plugin;
};
HOLDFAST_PLUGIN(hollow, R"({"id":"bad_no_interface","kind":"llm","version":"1.0.0","abi":[1,1],"interfaces":["hf.llm/1"]})")
