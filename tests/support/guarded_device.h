// A device whose memory the host cannot touch, without a GPU: GPU 0 of the program. Its memory is
// inaccessible except while one of its streams works, and its streams put work off until somebody
// waits for it. So code that touches device memory dies, and code that does not wait for a copy
// sees old bytes. Linking it makes it the program's CUDA backend.
#pragma once

#include "kernels/ops/op_table.h"

namespace frugal::test {

inline constexpr Device kGuarded{DeviceType::kCuda, 0};

// Before the first use of kGuarded, and when other code shall compute its ops from now on. The
// device belongs to one thread at a time.
void install_guarded_device(const OpTable& table);

}  // namespace frugal::test
