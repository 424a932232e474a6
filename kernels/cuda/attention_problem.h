// What attention kernels compute, whichever computes it.
#pragma once

#include <cstdint>

#include "kernels/cuda/device/language.h"
#include "kernels/ops/attention.h"

namespace frugal::cu {

// Legend of the arguments: as in kernels/ops/attention.h. out: also the backward's input. dim: the
// head dimension of q, k and their gradients; value_dim: of v, out and theirs.
template <class T>
struct AttentionProblem {
  const T* q;
  const T* k;
  const T* v;
  const std::int32_t* document_start;  // or null
  T* out;
  float* lse;
  const T* dout;
  T* dq;
  T* dk;
  T* dv;
  std::int64_t length, heads, kv_heads, dim, value_dim;
  float scale;

  __device__ const T* query_row(std::int64_t token, std::int64_t head) const {
    return q + (token * heads + head) * dim;
  }
  // x: out or dout.
  __device__ const T* out_row(const T* x, std::int64_t token, std::int64_t head) const {
    return x + (token * heads + head) * value_dim;
  }
  __device__ const T* key_row(std::int64_t token, std::int64_t head) const {
    return k + (token * kv_heads + head) * dim;
  }
  __device__ const T* value_row(std::int64_t token, std::int64_t head) const {
    return v + (token * kv_heads + head) * value_dim;
  }
  constexpr std::int64_t widest() const { return dim > value_dim ? dim : value_dim; }
  // The first position that a query sees, given as positions in its sequence.
  __device__ std::int64_t first_visible(std::int64_t sequence, std::int64_t position) const {
    return document_start == nullptr ? 0 : document_start[sequence * length + position];
  }
};

template <class T, class Args>
AttentionProblem<T> problem_of(const Args& args) {
  AttentionProblem<T> p{.q = args.q_TNH.template as<T>(),
                        .k = args.k_TMH.template as<T>(),
                        .v = args.v_TMH.template as<T>(),
                        .length = args.sequence_length,
                        .heads = args.q_TNH.shape[1],
                        .kv_heads = args.k_TMH.shape[1],
                        .dim = args.q_TNH.shape[2],
                        .value_dim = args.v_TMH.shape[2],
                        .scale = args.scale};
  if (args.document_start_T.data != nullptr) {
    p.document_start = args.document_start_T.template as<std::int32_t>();
  }
  return p;
}

template <class T>
AttentionProblem<T> forward_problem_of(const AttentionForwardArgs& args) {
  AttentionProblem<T> p = problem_of<T>(args);
  p.out = args.out_TNH.as<T>();
  p.lse = args.lse_TN.as<float>();
  return p;
}

template <class T>
AttentionProblem<T> backward_problem_of(const AttentionBackwardArgs& args) {
  AttentionProblem<T> p = problem_of<T>(args);
  p.out = const_cast<T*>(args.out_TNH.as<T>());  // only read by a backward
  p.lse = const_cast<float*>(args.lse_TN.as<float>());
  p.dout = args.dout_TNH.as<T>();
  p.dq = args.dq_TNH.as<T>();
  p.dk = args.dk_TMH.as<T>();
  p.dv = args.dv_TMH.as<T>();
  return p;
}

}  // namespace frugal::cu
