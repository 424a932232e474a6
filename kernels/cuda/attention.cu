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
  // 64 rows are reached with 32 bits.
  if (args.q_TNH.shape[1] > std::numeric_limits<int>::max() / (64 * 256)) return "very many heads";
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

constexpr const char* kCudnn = "cuDNN";
constexpr std::array<Implementation<AttentionForwardArgs>, 3> kForward{{
    {kCudnn, cudnn_forward_declines, cudnn_attention_forward},
    {"tensor cores", mma_forward_declines, mma_attention_forward},
    {"multiply-adds", never_declines, general_attention_forward},
}};
constexpr std::array<Implementation<AttentionBackwardArgs>, 3> kBackward{{
    {kCudnn, cudnn_backward_declines, cudnn_attention_backward_input},
    {"tensor cores", mma_backward_declines, mma_attention_backward_input},
    {"multiply-adds", never_declines, general_attention_backward_input},
}};

template <class Args>
std::string text_of_problem(const Args& args) {
  return text_of(planned_of(args));
}

// The problem's arguments, without memory. Fills in what both directions have.
template <class Args>
Args arguments_of(const PlannedAttention& a) {
  Args args;
  args.q_TNH = Tensor{nullptr, {a.tokens, a.heads, a.dim}, a.dtype, {}};
  args.k_TMH = Tensor{nullptr, {a.tokens, a.kv_heads, a.dim}, a.dtype, {}};
  args.v_TMH = Tensor{nullptr, {a.tokens, a.kv_heads, a.value_dim}, a.dtype, {}};
  args.out_TNH = Tensor{nullptr, {a.tokens, a.heads, a.value_dim}, a.dtype, {}};
  if (a.documents) args.document_start_T = Tensor{nullptr, {a.tokens}, DType::kI32, {}};
  args.sequence_length = a.sequence_length;
  args.scale = a.scale;
  return args;
}

template <class Args>
std::string first_to_take(std::span<const Implementation<Args>> implementations, Stream& stream,
                          const PlannedAttention& attention) {
  const auto args = arguments_of<Args>(attention);
  for (const Implementation<Args>& one : implementations) {
    if (one.declines(stream, args) == nullptr) return one.name;
  }
  return "none";
}

}  // namespace

std::span<const Implementation<AttentionForwardArgs>> attention_forward_implementations() {
  return kForward;
}

std::span<const Implementation<AttentionBackwardArgs>> attention_backward_implementations() {
  return kBackward;
}

std::string attention_implementation(Stream& stream, const PlannedAttention& attention) {
  const std::string name = attention.backward
                               ? first_to_take<AttentionBackwardArgs>(kBackward, stream, attention)
                               : first_to_take<AttentionForwardArgs>(kForward, stream, attention);
  return name == kCudnn ? concat(name, " ", cudnn_version()) : name;
}

void attention_forward(Stream& stream, const AttentionForwardArgs& args) {
  run_first<AttentionForwardArgs>("attention_forward", kForward, stream, args,
                                  text_of_problem<AttentionForwardArgs>);
}

void attention_backward_input(Stream& stream, const AttentionBackwardArgs& args) {
  run_first<AttentionBackwardArgs>("attention_backward_input", kBackward, stream, args,
                                   text_of_problem<AttentionBackwardArgs>);
}

}  // namespace frugal::cu
