#include "tests/support/emulated_cuda.h"

#include <algorithm>

namespace frugal::test {

const OpTable& emulated_cuda_table() {
  static const OpTable table = [] {
    OpTable out = cpu::table;
    out.rms_norm_forward = &cu::rms_norm_forward;
    out.rms_norm_backward_input = &cu::rms_norm_backward_input;
    out.rms_norm_backward_weight = &cu::rms_norm_backward_weight;
    out.layer_norm_forward = &cu::layer_norm_forward;
    out.layer_norm_backward_input = &cu::layer_norm_backward_input;
    out.layer_norm_backward_weight = &cu::layer_norm_backward_weight;
    out.rope_forward = &cu::rope_forward;
    out.rope_backward_input = &cu::rope_backward_input;
    out.attention_forward = &cu::attention_forward;
    out.attention_backward_input = &cu::attention_backward_input;
    out.swiglu_forward = &cu::swiglu_forward;
    out.swiglu_backward_input = &cu::swiglu_backward_input;
    out.gelu_forward = &cu::gelu_forward;
    out.gelu_backward_input = &cu::gelu_backward_input;
    out.embedding_forward = &cu::embedding_forward;
    out.embedding_backward_weight = &cu::embedding_backward_weight;
    out.cross_entropy_statistics = &cu::cross_entropy_statistics;
    out.cross_entropy_rescale = &cu::cross_entropy_rescale;
    out.cross_entropy_loss = &cu::cross_entropy_loss;
    out.cross_entropy_backward_input = &cu::cross_entropy_backward_input;
    out.add = &cu::add;
    out.cast = &cu::cast;
    out.fill = &cu::fill;
    out.copy = &cu::copy;
    out.normal_fill = &cu::normal_fill;
    out.tree_sum = &cu::tree_sum;
    out.max_rows = &cu::max_rows;
    out.sum_accumulate = &cu::sum_accumulate;
    out.bias_backward_weight = &cu::bias_backward_weight;
    out.adamw_step = &cu::adamw_step;
    out.block_sum_squares = &cu::block_sum_squares;
    return out;
  }();
  return table;
}

bool has_cuda_kernel(std::string_view case_name) {
  constexpr std::string_view kWithout[] = {"matmul"};
  return std::ranges::none_of(kWithout,
                              [&](std::string_view f) { return case_name.starts_with(f); });
}

}  // namespace frugal::test
