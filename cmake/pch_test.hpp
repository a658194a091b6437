#pragma once
// For tests: what every other file has, and GoogleTest.
#include "pch.hpp"

#include <gtest/gtest.h>
