#include "kernels/ops/op_table.h"

#include "kernels/ops/product.h"

namespace frugal {
namespace {

template <class... Args>
void do_nothing(Args...) {}

void plan_matmul(Stream& stream, const MatmulArgs&) {
  stream.plan_memory(kProductScratchBytes);
}

constexpr OpTable planning_table = [] {
  OpTable table = {
#define OP(name) .name = &do_nothing,
#include "kernels/ops/op_list.inc"
#undef OP
  };
  table.matmul = &plan_matmul;
  return table;
}();

}  // namespace

const OpTable& op_table(const Stream& stream) {
  if (stream.device().type == DeviceType::kCpu) return cpu::table;
  if (stream.planning()) return planning_table;
  const OpTable* table = cu::table();
  if (table == nullptr) {
    fail(ErrorKind::kPreflight, "this binary was built without CUDA: use device: cpu");
  }
  return *table;
}

}  // namespace frugal
