#include "kernels/ops/op_table.h"

#include "kernels/ops/product.h"

namespace frugal {
namespace {

template <class... Args>
void do_nothing(Args...) {}

void plan_matmul(Stream& stream, const MatmulArgs&) {
  stream.plan_memory(kProductScratchBytes);
}

void plan_matmul_group(Stream& stream, std::span<const MatmulArgs> products) {
  for (const MatmulArgs& args : products) plan_matmul(stream, args);
}

// The library takes no documents, and 16-bit types only.
template <class Args>
void plan_attention(Stream& stream, const Args& args) {
  if (args.q_TNH.dtype == DType::kF32 || given(args.document_start_T)) return;
  const auto rows = static_cast<std::size_t>(args.q_TNH.shape[0] * args.q_TNH.shape[1]);
  stream.plan_memory(kAttentionScratchBytes + rows * sizeof(float));
}

constexpr OpTable planning_table = [] {
  OpTable table = {
#define OP(name) .name = &do_nothing,
#include "kernels/ops/op_list.inc"
#undef OP
  };
  table.matmul = &plan_matmul;
  table.matmul_group = &plan_matmul_group;
  table.attention_forward = &plan_attention<AttentionForwardArgs>;
  table.attention_backward_input = &plan_attention<AttentionBackwardArgs>;
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
