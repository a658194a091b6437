// Compiling is the test.
#include "holdfast/abi/layout.h"
