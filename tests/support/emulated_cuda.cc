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
    out.swiglu_forward = &cu::swiglu_forward;
    out.swiglu_backward_input = &cu::swiglu_backward_input;
    out.gelu_forward = &cu::gelu_forward;
    out.gelu_backward_input = &cu::gelu_backward_input;
    return out;
  }();
  return table;
}

bool has_cuda_kernel(std::string_view case_name) {
  constexpr std::string_view kFamilies[] = {"activations", "layer_norm", "rms_norm"};
  return std::ranges::any_of(kFamilies,
                             [&](std::string_view f) { return case_name.starts_with(f); });
}

}  // namespace frugal::test
