#include "comm/nccl/library.h"

#include <dlfcn.h>

#include "kernels/core/check.h"

namespace frugal {
namespace {

template <class Function>
void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (function == nullptr) fail(ErrorKind::kPreflight, "this NCCL has no ", name);
}

}  // namespace

NcclLibrary load_nccl(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    fail(ErrorKind::kPreflight, "no NCCL here (", why == nullptr ? path.c_str() : why, ")");
  }
  NcclLibrary out{};
  find(library, "ncclGetVersion", out.GetVersion);
  find(library, "ncclGetUniqueId", out.GetUniqueId);
  find(library, "ncclCommInitRankConfig", out.CommInitRankConfig);
  find(library, "ncclCommFinalize", out.CommFinalize);
  find(library, "ncclCommDestroy", out.CommDestroy);
  find(library, "ncclCommAbort", out.CommAbort);
  find(library, "ncclCommGetAsyncError", out.CommGetAsyncError);
  find(library, "ncclGetErrorString", out.GetErrorString);
  find(library, "ncclGetLastError", out.GetLastError);
  find(library, "ncclGroupStart", out.GroupStart);
  find(library, "ncclGroupEnd", out.GroupEnd);
  find(library, "ncclSend", out.Send);
  find(library, "ncclRecv", out.Recv);
  return out;
}

}  // namespace frugal
