// Where a data build puts its parts: in place when all of them are whole, or not at all.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace frugal {

// Throws Error(kUsage) if dir has train/ or validation/ already.
void check_no_output(const std::string& dir);

// Calls build with the empty folder dir/.building, in which it makes train/ and perhaps
// validation/, and renames these into dir, train/ last: where it is, all is. Leaves nothing if
// build throws.
void build_output(const std::string& dir,
                  const std::function<void(const std::filesystem::path&)>& build);

}  // namespace frugal
