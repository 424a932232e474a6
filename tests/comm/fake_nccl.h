// A libnccl without GPUs: ranks are threads of one process, streams are those of the guarded
// device. Calls do not block: a group is enqueued at the second poll, and moves bytes when its
// stream comes to it and the peers' streams to theirs.
#pragma once

#include <atomic>

namespace frugal::test {

// What goes wrong; -1: nothing. Reset it between tests.
struct FakeNcclFaults {
  std::atomic<int> version_step{0};       // each rank has another version
  std::atomic<int> refused_rank{-1};      // its communicator does not start
  std::atomic<int> failing_rank{-1};      // its third group fails
  std::atomic<int> cut_off_rank{-1};      // an asynchronous error after its first group
  std::atomic<int> corrupting_rank{-1};   // what it receives has a wrong byte
  std::atomic<int> unstoppable_rank{-1};  // its ncclCommAbort does not return
  std::atomic<int> communicators{0};      // that exist now
};

}  // namespace frugal::test

// Of the library: looked up by this name.
extern "C" frugal::test::FakeNcclFaults* fake_nccl_faults();
