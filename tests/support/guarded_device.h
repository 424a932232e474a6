// A device whose memory the host cannot touch, without a GPU: GPU 0 of the program, computed by the
// CPU backend. Its memory is inaccessible except while one of its streams works, and its streams
// put work off until somebody waits for it. So code that touches device memory dies, and code that
// does not wait for a copy sees old bytes. Linking it makes it the program's CUDA backend.
#pragma once

#include "kernels/core/device.h"

namespace frugal::test {

inline constexpr Device kGuarded{DeviceType::kCuda, 0};

// Once, before the first use of kGuarded. The device belongs to one thread at a time.
void install_guarded_device();

}  // namespace frugal::test
