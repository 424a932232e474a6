// A device whose memory the host cannot touch, without a GPU: GPU 0 of the program, shared by its
// ranks, or as many as they ask for. Its memory is inaccessible except while a stream works, and
// its streams put work off until somebody waits for it. So code that touches device memory dies
// (surely, where no other rank's stream works just then), and code that does not wait for a copy
// sees old bytes. As on a GPU, who lets a stream wait for the host waits himself. It captures
// graphs. A stream's native handle is the stream. Linking it makes it the program's CUDA backend.
#pragma once

#include <string>
#include <vector>

#include "kernels/core/device_runtime.h"
#include "kernels/ops/op_table.h"

namespace frugal::test {

inline constexpr Device kGuarded{DeviceType::kCuda, 0};

// Before the first use of kGuarded, and when other code shall compute its ops from now on.
void install_guarded_device(const OpTable& table);

// What it says of itself from now on.
void set_guarded_device_info(const DeviceInfo& info);

// The GPUs that the calling thread sees from now on, as if it were a process: their ids.
void set_guarded_gpus(std::vector<std::string> ids);

// The version of the libraries that it says it computes with from now on.
void set_guarded_libraries(int version);

// Graphs that were captured and replayed since the device was installed.
struct GraphCount {
  int captured = 0, replayed = 0;
};
GraphCount guarded_device_graphs();

}  // namespace frugal::test
