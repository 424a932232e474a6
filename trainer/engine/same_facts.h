// Ranks that must have been given the same.
#pragma once

#include <map>
#include <string>

#include "comm/process_group.h"

namespace frugal {

// Collective. Throws Error(kUsage) on every rank, naming the first rank that differs from rank 0
// and in which fact, followed by `advice`. Values are compared, not shown: they may be long.
void require_same_facts(ProcessGroup& world, const std::map<std::string, std::string>& facts,
                        const std::string& advice);

}  // namespace frugal
