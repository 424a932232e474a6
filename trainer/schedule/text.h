// How an action is written.
#pragma once

#include <string>

#include "trainer/schedule/schedule.h"

namespace frugal {

// Stage, kind, micro-batch: "0F3", "1SA3"; without micro-batch for "0RG".
std::string action_text(const Action& action);

}  // namespace frugal
