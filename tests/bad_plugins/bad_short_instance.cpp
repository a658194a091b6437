// An instance table with a size that ends before its functions, and every slot null.
#include "holdfast/abi/plugin.h"
namespace {
const hf_instance stump = {8, 0, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
}
extern "C" HF_EXPORT __attribute__((used)) const char hf_plugin_manifest[] =
    R"({"id":"bad_short_instance","kind":"breaker","version":"1.0.0","abi":[1,1],"interfaces":["hf.breaker/1"]})";
extern "C" HF_EXPORT __attribute__((used)) const hf_entry hf_plugin_entry_v1 = {
    sizeof(hf_entry), HF_ABI_VERSION, nullptr, nullptr,
    [](const hf_host*, hf_bytes, const hf_instance** out, hf_error*) -> std::int32_t {
        *out = &stump;
        return HF_OK;
    }};
