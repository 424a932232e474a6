// Replacing a file as a whole.
#pragma once

#include <string>
#include <string_view>

namespace frugal {

// Writes path.tmp, flushes it to the disk and renames it over path: after a crash or a power
// failure path holds either the old or the new content. Throws Error(kData) with the system's
// reason.
void replace_file(const std::string& path, std::string_view content);

}  // namespace frugal
