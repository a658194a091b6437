#include <gtest/gtest.h>
#include "sessions/turn_decision.hpp"
TEST(x,y){}
