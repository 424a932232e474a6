// The group over NCCL with a library that needs no GPU (fake_nccl.h).
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "comm/device_mesh.h"
#include "comm/device_world.h"
#include "comm/gather_lines.h"
#include "comm/world.h"
#include "kernels/core/arena.h"
#include "kernels/ops/elementwise.h"
#include "tests/comm/conformance.h"
#include "tests/comm/fake_nccl.h"
#include "tests/support/guarded_device.h"

namespace frugal::test {
namespace {

using std::chrono::milliseconds;

NcclOptions fake(milliseconds timeout = std::chrono::seconds(20)) {
  return {.library = FRUGAL_FAKE_NCCL, .timeout = timeout};
}

FakeNcclFaults& faults() {
  void* library = dlopen(FRUGAL_FAKE_NCCL, RTLD_NOW);
  return *reinterpret_cast<decltype(&fake_nccl_faults)>(dlsym(library, "fake_nccl_faults"))();
}

// Every rank has a device.
Device device_of(const ProcessGroup& group) {
  return {DeviceType::kCuda, static_cast<std::int8_t>(group.rank())};
}

std::unique_ptr<ProcessGroup> over_nccl(std::unique_ptr<ProcessGroup> world,
                                        const NcclOptions& options) {
  std::string reason;
  const Device device = device_of(*world);
  auto group = make_nccl_group(std::move(world), device, options, reason);
  if (group == nullptr) throw std::runtime_error(reason);
  return group;
}

class NcclGroup : public testing::Test {
 protected:
  void SetUp() override {
    install_guarded_device(cpu::table);
    faults().version_step = 0;
    for (auto* fault : {&faults().refused_rank, &faults().failing_rank, &faults().cut_off_rank,
                        &faults().corrupting_rank, &faults().unstoppable_rank}) {
      *fault = -1;
    }
  }
  void TearDown() override { EXPECT_EQ(faults().communicators, 0); }
};

TEST_F(NcclGroup, Conformance) {
  for (const int ranks : {2, 3, 4, 8}) {
    SCOPED_TRACE(ranks);
    ASSERT_NO_THROW(run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> world) {
      const auto group = over_nccl(std::move(world), fake());
      check_conformance(*group, {.device = device_of(*group)});
      check_conformance(*group, {});  // tensors on the host pass by NCCL
    }));
  }
}

// A sum that shows who takes part.
void check_sum(ProcessGroup& group, Device device) {
  Arena arena(device, 1 << 16);
  const Tensor x = arena.allocate("x", {5000}, DType::kF32);
  std::vector<float> sum(5000);
  const auto stream = make_stream(device, "test");
  ops::fill(*stream, x, static_cast<float>(1 + thread_rank()));
  group.all_reduce(x, ReduceOp::kSum, *stream);
  ops::copy(*stream, {reinterpret_cast<std::byte*>(sum.data()), {5000}, DType::kF32, {}}, x);
  stream->synchronize();
  float expected = 0;
  for (const std::string& line : gather_lines(group, std::to_string(1 + thread_rank()))) {
    expected += std::stof(line);
  }
  if (sum != std::vector<float>(5000, expected)) throw std::runtime_error("a wrong sum");
}

TEST_F(NcclGroup, CarriesAMesh) {
  run_ranks_as_threads(4, [&](std::unique_ptr<ProcessGroup> world) {
    const Device device = device_of(*world);
    DeviceMesh mesh(over_nccl(std::move(world), fake()), {.pipeline = 2, .data = 2});
    for (const Axis axis : {Axis::kPipeline, Axis::kData, Axis::kTensor}) {
      check_sum(mesh.group(axis), device);
    }
  });
}

struct Ending {
  std::string text;  // "" for none
  milliseconds after{};
};

// What a rank ends with that sums over all ranks, ten times.
Ending sum_until_it_fails(ProcessGroup& group) {
  const auto begin = std::chrono::steady_clock::now();
  Ending out;
  Arena arena(device_of(group), 1 << 16);
  const Tensor x = arena.allocate("x", {5000}, DType::kF32);
  const auto stream = make_stream(device_of(group), "test");
  try {
    for (int i = 0; i < 10; ++i) group.all_reduce(x, ReduceOp::kSum, *stream);
    stream->synchronize();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kCommunication);
    out.text = error.what();
  }
  out.after = std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin);
  return out;
}

std::vector<Ending> endings(int ranks, const NcclOptions& options, int absent_rank = -1) {
  std::vector<Ending> out(static_cast<std::size_t>(ranks));
  run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> world) {
    const auto group = over_nccl(std::move(world), options);
    if (group->rank() != absent_rank) {
      out[static_cast<std::size_t>(group->rank())] = sum_until_it_fails(*group);
    }
    group->host_barrier();
  });
  return out;
}

// The rank that has it says what; its peers wait in vain and say for whom.
TEST_F(NcclGroup, ACallThatFailsEndsEveryRank) {
  faults().failing_rank = 1;
  const std::vector<Ending> ends = endings(3, fake(milliseconds(500)));
  EXPECT_NE(ends[1].text.find("all_reduce (call 3 of its group) with ranks 0 and 2: unhandled "
                              "system error (the fake's words)"),
            std::string::npos)
      << ends[1].text;
  for (const int rank : {0, 2}) {
    const Ending& end = ends[static_cast<std::size_t>(rank)];
    EXPECT_NE(end.text.find("all_reduce (call "), std::string::npos) << end.text;
    EXPECT_NE(
        end.text.find(
            rank == 0
                ? "with ranks 1 and 2: no answer in 0.5 s (parallelism.communication_timeout)"
                : "with ranks 0 and 1: no answer in 0.5 s (parallelism.communication_timeout)"),
        std::string::npos)
        << end.text;
    EXPECT_LT(end.after, milliseconds(5000));
  }
}

// While the rank's own thread waits for its stream.
TEST_F(NcclGroup, AnAsynchronousErrorWakesTheRank) {
  faults().cut_off_rank = 0;
  const std::vector<Ending> ends = endings(2, fake(), 1);
  EXPECT_EQ(ends[0].text,
            "all_reduce (call 1 of its group) with rank 1: NCCL: remote process exited or there "
            "was a network error (the fake's words)");
  EXPECT_LT(ends[0].after, milliseconds(5000));
}

TEST_F(NcclGroup, AVanishedPeerEndsTheOthers) {
  const std::vector<Ending> ends = endings(2, fake(milliseconds(300)), 1);
  EXPECT_NE(ends[0].text.find("all_reduce (call 1 of its group) with rank 1: no answer in 0.3 s"),
            std::string::npos)
      << ends[0].text;
  EXPECT_GE(ends[0].after, milliseconds(3000));  // a first call: ten times as long
  EXPECT_LT(ends[0].after, milliseconds(5000));
}

// A rank that is busy itself is not one whose peer has vanished: the clock starts when the stream
// comes to the call.
TEST_F(NcclGroup, OwnWorkIsNotWaiting) {
  run_ranks_as_threads(2, [&](std::unique_ptr<ProcessGroup> world) {
    const auto group = over_nccl(std::move(world), fake(milliseconds(300)));
    Arena arena(device_of(*group), 64);
    const Tensor x = arena.allocate("x", {4}, DType::kF32);
    const auto stream = make_stream(device_of(*group), "test");
    stream->run_host([] { std::this_thread::sleep_for(milliseconds(800)); });
    group->all_reduce(x, ReduceOp::kSum, *stream);
    stream->synchronize();
  });
}

// One group's failure is the rank's: what waits in another one ends too.
TEST_F(NcclGroup, AGroupTakesItsSiblingsWithIt) {
  std::string told;
  EXPECT_ANY_THROW(run_ranks_as_threads(2, [&](std::unique_ptr<ProcessGroup> world) {
    const auto group = over_nccl(std::move(world), fake());
    const auto sibling = group->split(0, group->rank());
    if (group->rank() == 0) {
      const std::jthread aborting([&group] {
        std::this_thread::sleep_for(milliseconds(100));
        group->abort(std::make_exception_ptr(std::runtime_error("rank 0 is broken")));
      });
      told = sum_until_it_fails(*sibling).text;
    }
  }));
  EXPECT_EQ(told, "this rank has failed");
}

// Where the rank's own thread waits for a stream that nothing can stop.
TEST_F(NcclGroup, WhatCannotBeStoppedEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        faults().unstoppable_rank = 0;
        endings(2, fake(milliseconds(200)), 1);
      },
      testing::ExitedWithCode(6),
      "frugal: rank 0: all_reduce .call 1 of its group. with rank 1: no answer in 0.2 s "
      ".parallelism.communication_timeout.; and NCCL "
      "does not stop");
}

// The transport that make_device_world takes; every rank must take the same one, and it must work.
std::string chosen(int ranks, const NcclOptions& options, bool own_devices = true) {
  std::mutex mutex;
  std::string line;
  run_ranks_as_threads(ranks, [&](std::unique_ptr<ProcessGroup> world) {
    const Device device = own_devices ? device_of(*world) : kGuarded;
    const DeviceWorld made = make_device_world(std::move(world), device, options);
    check_sum(*made.group, device);
    const std::lock_guard lock(mutex);
    if (!line.empty() && line != made.transport) throw std::runtime_error("ranks disagree");
    line = made.transport;
  });
  return line;
}

TEST_F(NcclGroup, IsChosenWhereItWorks) {
  const std::string instead = "GPUs exchange data through host memory: ";
  EXPECT_EQ(chosen(3, fake()), "GPUs exchange data over NCCL");
  EXPECT_EQ(chosen(2, fake(), false), instead + "ranks share a GPU");
  EXPECT_EQ(chosen(1, fake()), "");
  const std::string missing = chosen(2, {.library = "libnccl-that-is-not-there.so"});
  EXPECT_EQ(missing.find(instead + "rank 0: libnccl-that-is-not-there.so: cannot open"), 0U)
      << missing;
  faults().version_step = 1;
  const std::string mixed = chosen(2, fake());
  EXPECT_EQ(mixed.find(instead + "rank 1: NCCL 228"), 0U) << mixed;
  EXPECT_NE(mixed.find(" instead of 228"), std::string::npos) << mixed;
  faults().version_step = 0;
  setenv("NCCL_COMM_ID", "127.0.0.1:1", 1);
  EXPECT_EQ(chosen(2, fake()), instead + "rank 0: NCCL_COMM_ID is set");
  unsetenv("NCCL_COMM_ID");
  faults().corrupting_rank = 2;
  EXPECT_EQ(chosen(3, fake()), instead + "rank 2: wrong bytes arrived from rank 0");
  faults().corrupting_rank = -1;
  faults().refused_rank = 1;
  EXPECT_EQ(
      chosen(2, fake(milliseconds(500))),
      instead +
          "rank 0: NCCL does not start: no answer in 0.5 s (parallelism.communication_timeout)");
}

TEST_F(NcclGroup, IsNotForRanksOfTwoKinds) {
  try {
    run_ranks_as_threads(3, [](std::unique_ptr<ProcessGroup> world) {
      const Device device = world->rank() == 2 ? Device{} : device_of(*world);
      make_device_world(std::move(world), device, fake());
    });
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kPreflight);
    EXPECT_STREQ(error.what(),
                 "rank 0 computes on a GPU and rank 2 on the CPU: give every host GPUs, or set "
                 "device: cpu");
  }
}

// Whatever NCCL is on this machine: it either starts, or says why not, and the program goes on.
TEST_F(NcclGroup, TheMachinesOwnLibraryIsTried) {
  const std::string line = chosen(2, {.timeout = milliseconds(3000)});
  EXPECT_EQ(line.find("GPUs exchange data "), 0U) << line;
}

}  // namespace
}  // namespace frugal::test
