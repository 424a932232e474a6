// Attention by cuDNN, where the build had the headers of its frontend and the machine has the
// library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/core/stream.h"
#include "kernels/ops/attention.h"

namespace frugal::cu {

// For the lists of attention (kernels/ops/implementations.h). cuDNN is asked once for each problem
// whether it has a plan; where that or the library fails, it declines. The backward is the
// deterministic one. Their lse is ours, so one may run forward and the other backward.
const char* cudnn_forward_declines(Stream& stream, const AttentionForwardArgs& args);
void cudnn_attention_forward(Stream& stream, const AttentionForwardArgs& args);
const char* cudnn_backward_declines(Stream& stream, const AttentionBackwardArgs& args);
void cudnn_attention_backward_input(Stream& stream, const AttentionBackwardArgs& args);

// As the library says it, 91400 for 9.14.0. REQUIRES: it is there.
std::size_t cudnn_version();

// Attention as far as cuDNN's plan goes.
struct CudnnProblem {
  DType dtype = DType::kBF16;
  std::int64_t sequences = 1, length = 0, heads = 1, kv_heads = 1;
  std::int64_t dim = 0, value_dim = 0;  // of q and k; of v and out
  float scale = 1.0F;
  bool backward = false;
  auto operator<=>(const CudnnProblem&) const = default;
};
// Why cuDNN has no plan for a GPU that need not be there; empty: it has one. device: its properties
// in cuDNN's JSON; capability: 75, 80, ... Needs some libcuda.so.1, the toolkit's stub will do.
std::string cudnn_lacks(const CudnnProblem& problem, const std::string& device, int capability);

}  // namespace frugal::cu
