// create says HF_OK and hands out nothing.
#include "holdfast/abi/plugin.h"
extern "C" HF_EXPORT __attribute__((used)) const char hf_plugin_manifest[] =
    R"({"id":"bad_create_null","kind":"breaker","version":"1.0.0","abi":[1,1],"interfaces":["hf.breaker/1"]})";
extern "C" HF_EXPORT __attribute__((used)) const hf_entry hf_plugin_entry_v1 = {
    sizeof(hf_entry), HF_ABI_VERSION, [](hf_error*) -> std::int32_t { return HF_OK; }, []() {},
    [](const hf_host*, hf_bytes, const hf_instance**, hf_error*) -> std::int32_t { return HF_OK; }};
