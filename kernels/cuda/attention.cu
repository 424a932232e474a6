// Attention: implementations from the fastest to the most general; the first that accepts the
// problem runs.
#include "kernels/cuda/attention.h"

#include <cstdint>
#include <limits>

#include "kernels/cuda/launch.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

template <class Args>
struct Implementation {
  std::string_view name;
  bool (*accepts)(const Stream&, const Args&);
  void (*run)(Stream&, const Args&);
};

template <class Args>
bool accept_all(const Stream&, const Args&) {
  return true;
}

constexpr Implementation<AttentionForwardArgs> kForward[] = {
    {"mma", mma_attention_accepts, mma_attention_forward},
    {"general", accept_all, general_attention_forward}};
constexpr Implementation<AttentionBackwardArgs> kBackward[] = {
    {"mma", mma_attention_accepts, mma_attention_backward_input},
    {"general", accept_all, general_attention_backward_input}};

template <class Args, int kCount>
const Implementation<Args>& choose(const Implementation<Args> (&list)[kCount], const Stream& stream,
                                   const Args& args) {
  int i = 0;
  while (!list[i].accepts(stream, args)) ++i;  // the last accepts all
  return list[i];
}

template <class Args, class... Tensors>
bool mma_accepts(const Stream& stream, const Args& args, const Tensors&... tensors) {
  const Gpu gpu = gpu_of(stream);
  const DType dtype = args.q_TNH.dtype;
  const bool type = (dtype == DType::kF16 && gpu.version >= 75) ||
                    (dtype == DType::kBF16 && gpu.version >= 80);
  const bool aligned =
      ((reinterpret_cast<std::uintptr_t>(static_cast<const void*>(tensors.data)) % 16 == 0) && ...);
  const std::int64_t dim = args.q_TNH.shape[2];
  return type && aligned && dim % 8 == 0 && dim <= 256 && args.scale > 0.0F &&
         args.sequence_length < std::numeric_limits<int>::max() / 2;
}

}  // namespace

bool mma_attention_accepts(const Stream& stream, const AttentionForwardArgs& args) {
  return mma_accepts(stream, args, args.out_TNH, args.q_TNH, args.k_TMH, args.v_TMH);
}

bool mma_attention_accepts(const Stream& stream, const AttentionBackwardArgs& args) {
  // The registers of Turing's kernel do not hold the sums of more.
  const bool held = args.q_TNH.shape[2] <= 192 || gpu_of(stream).version >= 80;
  return held && mma_accepts(stream, args, args.dq_TNH, args.dk_TMH, args.dv_TMH, args.dout_TNH, args.q_TNH,
                     args.k_TMH, args.v_TMH, args.out_TNH);
}

std::string_view attention_forward_implementation(const Stream& stream,
                                                  const AttentionForwardArgs& args) {
  return choose(kForward, stream, args).name;
}

std::string_view attention_backward_implementation(const Stream& stream,
                                                   const AttentionBackwardArgs& args) {
  return choose(kBackward, stream, args).name;
}

void attention_forward(Stream& stream, const AttentionForwardArgs& args) {
  choose(kForward, stream, args).run(stream, args);
}

void attention_backward_input(Stream& stream, const AttentionBackwardArgs& args) {
  choose(kBackward, stream, args).run(stream, args);
}

}  // namespace frugal::cu
