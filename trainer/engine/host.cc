#include "trainer/engine/host.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

namespace frugal {
namespace {

// "max" and what cannot be read are no limit.
std::size_t limit_in(const std::string& path) {
  std::ifstream in(path);
  std::size_t bytes = 0;
  return in >> bytes ? bytes : std::numeric_limits<std::size_t>::max();
}

// A group's limit holds for the groups below it.
std::size_t limit_up_from(const std::string& mount, std::string group, const char* file) {
  std::size_t least = limit_in(mount + "/" + file);
  for (; group.size() > 1; group.resize(group.rfind('/'))) {
    least = std::min(least, limit_in(mount + group + "/" + file));
  }
  return least;
}

// Lines of /proc/self/cgroup are "number:controllers:path"; version 2 has no controllers.
std::size_t control_group_limit() {
  std::size_t least = std::numeric_limits<std::size_t>::max();
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string number, controllers, group;
    std::getline(fields, number, ':');
    std::getline(fields, controllers, ':');
    std::getline(fields, group);
    if (group.empty() || group.front() != '/') continue;
    if (controllers.empty()) {
      least = std::min(least, limit_up_from("/sys/fs/cgroup", group, "memory.max"));
    } else if (("," + controllers + ",").find(",memory,") != std::string::npos) {
      least =
          std::min(least, limit_up_from("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes"));
    }
  }
  return least;
}

}  // namespace

std::size_t usable_memory_bytes() {
  const auto physical = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
                        static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return std::min(physical, control_group_limit());
}

std::string host_name() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

std::size_t resident_peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;
}

}  // namespace frugal
