// A manifest that is not JSON.
#include "allow_all.hpp"
HOLDFAST_PLUGIN(holdfast::bad::allow_all, "{\"id\":\"bad_manifest_garbage\", kind: \xff\xfe ]]")
