// What nearly every unit test includes; never included by name.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "util/pch.h"
