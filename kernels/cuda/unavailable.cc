// Chosen by CMake when the CUDA backend is not built.
#include "kernels/ops/op_table.h"
#include "kernels/ops/product.h"

namespace frugal::cu {

const OpTable* table() {
  return nullptr;
}

std::string missing() {
  return "this build has no CUDA backend";
}

int device_count() {
  return 0;
}

void choose_algorithms(Device, const std::set<Product>&, AlgorithmChoices&) {}

}  // namespace frugal::cu
