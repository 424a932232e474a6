// Short texts that ranks tell each other while they set up.
#pragma once

#include <string>
#include <vector>

#include "comm/process_group.h"

namespace frugal {

// Every member's line, in rank order; what is longer than 255 bytes loses its end. Collective.
std::vector<std::string> gather_lines(ProcessGroup& group, const std::string& own);

// Of the first rank that has one: "rank 2: line"; "" where nobody has. The same on every member.
std::string first_complaint(ProcessGroup& group, const std::string& own);

}  // namespace frugal
