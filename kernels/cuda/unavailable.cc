// Chosen by CMake when the CUDA backend is not built.
#include "kernels/ops/op_table.h"

namespace frugal::cu {

const OpTable* table() {
  return nullptr;
}

}  // namespace frugal::cu
