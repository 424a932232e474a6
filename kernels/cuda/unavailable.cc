// Chosen by CMake when the CUDA backend is not built.
#include "kernels/ops/attention_choice.h"
#include "kernels/ops/op_table.h"

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

AlgorithmChoices attention_choices(Device, const std::set<PlannedAttention>&) {
  return {};
}
void choose_algorithms(Device, const std::set<Product>&, AlgorithmChoices&) {}

}  // namespace frugal::cu
