#include "comm/nccl/library.h"

#include <array>

#include "kernels/core/shared_library.h"

namespace frugal {

NcclLibrary load_nccl(const std::string& name) {
  const std::array<const char*, 1> names{name.c_str()};
  std::string why;
  const auto library = SharedLibrary::open(names, why);
  if (library == nullptr) fail(ErrorKind::kPreflight, why);
  NcclLibrary out{};
  const auto find = [&]<class Function>(const char* symbol, Function*& function) {
    function = library->function<Function>(symbol);
  };
  find("ncclGetVersion", out.GetVersion);
  find("ncclGetUniqueId", out.GetUniqueId);
  find("ncclCommInitRankConfig", out.CommInitRankConfig);
  find("ncclCommFinalize", out.CommFinalize);
  find("ncclCommDestroy", out.CommDestroy);
  find("ncclCommAbort", out.CommAbort);
  find("ncclCommGetAsyncError", out.CommGetAsyncError);
  find("ncclGetErrorString", out.GetErrorString);
  find("ncclGetLastError", out.GetLastError);
  find("ncclGroupStart", out.GroupStart);
  find("ncclGroupEnd", out.GroupEnd);
  find("ncclSend", out.Send);
  find("ncclRecv", out.Recv);
  return out;
}

}  // namespace frugal
