// libnccl, found when the program runs: one binary starts on machines with and without it.
#pragma once

#include <nccl.h>

#include <string>

namespace frugal {

// The functions that are called, under NCCL's names without the prefix. Lives as long as the
// program: NCCL has threads of its own.
struct NcclLibrary {
  decltype(&ncclGetVersion) GetVersion;
  decltype(&ncclGetUniqueId) GetUniqueId;
  decltype(&ncclCommInitRankConfig) CommInitRankConfig;
  decltype(&ncclCommFinalize) CommFinalize;
  decltype(&ncclCommDestroy) CommDestroy;
  decltype(&ncclCommAbort) CommAbort;
  decltype(&ncclCommGetAsyncError) CommGetAsyncError;
  decltype(&ncclGetErrorString) GetErrorString;
  decltype(&ncclGetLastError) GetLastError;
  decltype(&ncclGroupStart) GroupStart;
  decltype(&ncclGroupEnd) GroupEnd;
  decltype(&ncclSend) Send;
  decltype(&ncclRecv) Recv;
};

// Throws Error(kPreflight) with the reason.
NcclLibrary load_nccl(const std::string& name);

}  // namespace frugal
