#include "kernels/core/shared_library.h"

#include <dlfcn.h>

namespace frugal {

std::unique_ptr<SharedLibrary> SharedLibrary::open(std::span<const char* const> names,
                                                   std::string& why) {
  for (const char* name : names) {
    if (void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL)) {
      return std::unique_ptr<SharedLibrary>(new SharedLibrary(handle, name));
    }
    if (why.empty()) why = dlerror();
  }
  return nullptr;
}

void* SharedLibrary::address(const char* symbol) const {
  void* found = dlsym(handle_, symbol);
  if (found == nullptr) {
    fail(ErrorKind::kPreflight, name_, " has no ", symbol, ": install a newer version of it");
  }
  return found;
}

}  // namespace frugal
