// Without the headers of cuDNN's frontend, and for the emulation.
#include "kernels/cuda/cudnn_attention.h"

namespace frugal::cu {

const char* cudnn_forward_declines(Stream&, const AttentionForwardArgs&) {
  return "this build has no cuDNN";
}

void cudnn_attention_forward(Stream&, const AttentionForwardArgs&) {}

const char* cudnn_backward_declines(Stream&, const AttentionBackwardArgs&) {
  return "this build has no cuDNN";
}

std::size_t cudnn_version() {
  return 0;
}

void cudnn_attention_backward_input(Stream&, const AttentionBackwardArgs&) {}

std::string cudnn_lacks(const CudnnProblem&, const std::string&, int) {
  return "this build has no cuDNN";
}

}  // namespace frugal::cu
