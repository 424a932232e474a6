// Attention: the list of implementations.
#include "kernels/cuda/attention.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>

#include "kernels/cuda/cudnn_attention.h"
#include "kernels/cuda/launch.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

// version: the GPU's. tensors: all that are read or written 16 bytes at a time.
template <class Args, class... Tensors>
const char* mma_declines(int version, const Args& args, const Tensors&... tensors) {
  const DType dtype = args.q_TNH.dtype;
  const std::int64_t dim = args.q_TNH.shape[2], value_dim = args.v_TMH.shape[2];
  if (dtype != DType::kF16 && dtype != DType::kBF16) return "not a 16-bit type";
  if (version < (dtype == DType::kF16 ? 75 : 80)) return "a type that the tensor cores lack";
  if (dim % 8 != 0 || value_dim % 8 != 0) return "a head dimension that is no multiple of 8";
  if (std::max(dim, value_dim) > 256) return "a head dimension above 256";
  if (((reinterpret_cast<std::uintptr_t>(tensors.data) % 16 != 0) || ...))
    return "unaligned tensors";
  if (args.scale <= 0.0F) return "a scale that is not positive";
  if (args.sequence_length > std::numeric_limits<int>::max() / 2) return "a very long sequence";
  return nullptr;
}

const char* mma_forward_declines(Stream& stream, const AttentionForwardArgs& args) {
  return mma_declines(gpu_of(stream).version, args, args.out_TNH, args.q_TNH, args.k_TMH,
                      args.v_TMH);
}

const char* mma_backward_declines(Stream& stream, const AttentionBackwardArgs& args) {
  const int version = gpu_of(stream).version;
  if (version < 80 && std::max(args.q_TNH.shape[2], args.v_TMH.shape[2]) > 192) {
    return "a head dimension above 192, whose sums Turing's registers do not hold";
  }
  return mma_declines(version, args, args.dq_TNH, args.dk_TMH, args.dv_TMH, args.dout_TNH,
                      args.q_TNH, args.k_TMH, args.v_TMH, args.out_TNH);
}

template <class Args>
const char* never_declines(Stream&, const Args&) {
  return nullptr;
}

constexpr std::array<Implementation<AttentionForwardArgs>, 3> kForward{{
    {"cuDNN", cudnn_forward_declines, cudnn_attention_forward},
    {"tensor cores", mma_forward_declines, mma_attention_forward},
    {"multiply-adds", never_declines, general_attention_forward},
}};
constexpr std::array<Implementation<AttentionBackwardArgs>, 3> kBackward{{
    {"cuDNN", cudnn_backward_declines, cudnn_attention_backward_input},
    {"tensor cores", mma_backward_declines, mma_attention_backward_input},
    {"multiply-adds", never_declines, general_attention_backward_input},
}};

template <class Args>
std::string text_of(const Args& args) {
  const Shape& q = args.q_TNH.shape;
  return concat(q[0], " tokens in sequences of ", args.sequence_length, ", heads ", q[1], "/",
                args.k_TMH.shape[1], " dim ", q[2],
                args.v_TMH.shape[2] == q[2] ? "" : concat("/", args.v_TMH.shape[2]),
                args.document_start_T.data != nullptr ? " documents " : " ",
                name_of(args.q_TNH.dtype));
}

}  // namespace

std::span<const Implementation<AttentionForwardArgs>> attention_forward_implementations() {
  return kForward;
}

std::span<const Implementation<AttentionBackwardArgs>> attention_backward_implementations() {
  return kBackward;
}

void attention_forward(Stream& stream, const AttentionForwardArgs& args) {
  run_first<AttentionForwardArgs>("attention_forward", kForward, stream, args,
                                  text_of<AttentionForwardArgs>);
}

void attention_backward_input(Stream& stream, const AttentionBackwardArgs& args) {
  run_first<AttentionBackwardArgs>("attention_backward_input", kBackward, stream, args,
                                   text_of<AttentionBackwardArgs>);
}

}  // namespace frugal::cu
