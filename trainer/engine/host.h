// What the operating system says of this host and process.
#pragma once

#include <cstddef>
#include <string>

namespace frugal {

// Memory that this process's host, container or job may use: the smallest of the physical memory
// and the limits of its control groups (versions 1 and 2).
std::size_t usable_memory_bytes();

std::string host_name();

// The most memory this process has had resident.
std::size_t resident_peak_bytes();

}  // namespace frugal
