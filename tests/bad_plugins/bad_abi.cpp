// Speaks an ABI generation that does not exist.
#include "allow_all.hpp"
HOLDFAST_PLUGIN(holdfast::bad::allow_all,
                R"({"id":"bad_abi","kind":"breaker","version":"1.0.0","abi":[99,99],"interfaces":["hf.breaker/1"]})")
