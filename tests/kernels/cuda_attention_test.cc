// Attention on tensor cores, emulated, against the reference; and which implementation takes what.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/emulation/emulation.h"
#include "tests/support/compare.h"
#include "tests/support/emulated_cuda.h"
#include "tests/support/op_cases.h"

namespace frugal::test {
namespace {

constexpr emulation::Capability kTuring{75, 64 << 10}, kBlackwell{120, 99 << 10};

struct Size {
  std::int64_t sequences, length, heads, kv_heads, dim;
  int documents;                     // of a sequence
  std::int64_t other_value_dim = 0;  // 0: like dim

  std::int64_t value_dim() const { return other_value_dim > 0 ? other_value_dim : dim; }

  Shape query() const { return {sequences * length, heads, dim}; }
  Shape key() const { return {sequences * length, kv_heads, dim}; }
  Shape value() const { return {sequences * length, kv_heads, value_dim()}; }
  Shape result() const { return {sequences * length, heads, value_dim()}; }
  Shape row() const { return {sequences * length, heads}; }
};

template <class T>
Owned narrowed(const Owned& x) {
  Owned out(x.get().shape, dtype_of<T>());
  for (std::int64_t i = 0; i < x.get().numel(); ++i) out.get().as<T>()[i] = T(x.at(i));
  return out;
}

template <class T>
Owned widened(const Owned& x) {
  Owned out(x.get().shape, DType::kF32);
  for (std::int64_t i = 0; i < x.get().numel(); ++i) {
    out.set(i, static_cast<float>(x.get().as<T>()[i]));
  }
  return out;
}

// Documents of about the same length, elsewhere in each sequence.
Owned document_starts(const Size& s) {
  Owned out(Shape{s.sequences * s.length}, DType::kI32);
  for (std::int64_t t = 0; t < s.sequences * s.length; ++t) {
    const std::int64_t each = s.length / s.documents + 1 + t / s.length;
    out.get().as<std::int32_t>()[t] = static_cast<std::int32_t>(t % s.length / each * each);
  }
  return out;
}

// A problem in T; and the same numbers in float32, for the reference.
template <class T>
struct Problem {
  explicit Problem(const Size& size)
      : s(size),
        q(narrowed<T>(random_tensor(s.query(), DType::kF32, 1))),
        k(narrowed<T>(random_tensor(s.key(), DType::kF32, 2))),
        v(narrowed<T>(random_tensor(s.value(), DType::kF32, 3))),
        dout(narrowed<T>(random_tensor(s.result(), DType::kF32, 4))),
        documents(document_starts(s)) {
    const Owned wide_q = widened<T>(q), wide_k = widened<T>(k), wide_v = widened<T>(v);
    const Owned wide_dout = widened<T>(dout);
    reference_table().attention_forward(
        *stream, forward_args(expected_out, expected_lse, wide_q, wide_k, wide_v));
    out.copy_from(narrowed<T>(expected_out));
    const Owned wide_out = widened<T>(out);
    AttentionBackwardArgs args = backward_args(expected_dq, expected_dk, expected_dv);
    args.dout_TNH = wide_dout;
    args.q_TNH = wide_q;
    args.k_TMH = wide_k;
    args.v_TMH = wide_v;
    args.out_TNH = wide_out;
    reference_table().attention_backward_input(*stream, args);
  }

  AttentionForwardArgs forward_args(const Owned& to, const Owned& lse, const Owned& q_TNH,
                                    const Owned& k_TMH, const Owned& v_TMH) const {
    return {.out_TNH = to,
            .lse_TN = lse,
            .q_TNH = q_TNH,
            .k_TMH = k_TMH,
            .v_TMH = v_TMH,
            .document_start_T = s.documents > 1 ? ConstTensor(documents) : ConstTensor(),
            .sequence_length = s.length,
            .scale = scale()};
  }
  AttentionBackwardArgs backward_args(const Owned& dq, const Owned& dk, const Owned& dv) const {
    return {.dq_TNH = dq,
            .dk_TMH = dk,
            .dv_TMH = dv,
            .dout_TNH = dout,
            .q_TNH = q,
            .k_TMH = k,
            .v_TMH = v,
            .out_TNH = out,
            .lse_TN = expected_lse,
            .document_start_T = s.documents > 1 ? ConstTensor(documents) : ConstTensor(),
            .sequence_length = s.length,
            .scale = scale()};
  }
  float scale() const { return 1.0F / std::sqrt(static_cast<float>(s.dim)); }

  Tolerance allowed() const {
    return attention_tolerance(dtype_of<T>(), s.length * s.heads, s.heads / s.kv_heads, s.dim);
  }

  Size s;
  std::unique_ptr<Stream> stream = make_stream({}, "test");
  Owned q, k, v, dout, documents;
  Owned expected_out{s.result(), DType::kF32}, expected_lse{s.row(), DType::kF32};
  Owned expected_dq{s.query(), DType::kF32}, expected_dk{s.key(), DType::kF32},
      expected_dv{s.value(), DType::kF32};
  Owned out{s.result(), dtype_of<T>()};  // the reference's, rounded: what a backward reads
};

template <class Args>
std::string implementation_of(std::span<const Implementation<Args>> implementations, Stream& stream,
                              const Args& args) {
  for (const auto& one : implementations) {
    if (one.declines(stream, args) == nullptr) return one.name;
  }
  return "none";
}

// Runs both ops in all orders of threads: the named implementation, the reference's numbers, and
// the same bits each time.
template <class T>
void check(const emulation::Capability& gpu, const Size& size, const std::string& implementation) {
  SCOPED_TRACE(concat(gpu.version, ": ", size.sequences, "x", size.length, " heads ", size.heads,
                      "/", size.kv_heads, " dim ", size.dim, "/", size.value_dim(), " documents ",
                      size.documents, " ", name_of(dtype_of<T>())));
  emulation::set_capability(gpu);
  const Problem<T> p(size);
  std::vector<std::vector<std::byte>> first;
  for (const emulation::Order order : kTriedOrders) {
    emulation::set_order(order);
    const Owned out(size.result(), dtype_of<T>()), lse(size.row(), DType::kF32);
    const Owned dq(size.query(), dtype_of<T>()), dk(size.key(), dtype_of<T>()),
        dv(size.value(), dtype_of<T>());
    const auto forward = p.forward_args(out, lse, p.q, p.k, p.v);
    const auto backward = p.backward_args(dq, dk, dv);
    ASSERT_EQ(implementation_of(cu::attention_forward_implementations(), *p.stream, forward),
              implementation);
    ASSERT_EQ(implementation_of(cu::attention_backward_implementations(), *p.stream, backward),
              implementation);
    emulated_cuda_table().attention_forward(*p.stream, forward);
    emulated_cuda_table().attention_backward_input(*p.stream, backward);
    const std::vector<std::vector<std::byte>> bits = {out.bits(), lse.bits(), dq.bits(), dk.bits(),
                                                      dv.bits()};
    if (!first.empty()) {
      ASSERT_EQ(bits, first);
      continue;
    }
    first = bits;
    const auto near = [&](const char* what, const Owned& actual, const Owned& expected) {
      SCOPED_TRACE(what);
      expect_near(actual, expected, p.allowed());
    };
    near("out", widened<T>(out), p.expected_out);
    near("lse", lse, p.expected_lse);
    near("dq", widened<T>(dq), p.expected_dq);
    near("dk", widened<T>(dk), p.expected_dk);
    near("dv", widened<T>(dv), p.expected_dv);
  }
  emulation::set_capability({});
}

constexpr const char* kTensorCores = "tensor cores";
constexpr const char* kGeneral = "multiply-adds";

TEST(CudaAttention, TensorCoresMatchTheReferenceInAnyOrderOfThreads) {
  check<BFloat16>(kBlackwell, {3, 1, 2, 1, 64, 1}, kTensorCores);
  check<BFloat16>(kBlackwell, {1, 70, 2, 1, 40, 1}, kTensorCores);
  check<BFloat16>(kBlackwell, {2, 133, 2, 1, 64, 3}, kTensorCores);
  check<BFloat16>(kBlackwell, {1, 130, 4, 2, 128, 1}, kTensorCores);
  check<BFloat16>(kBlackwell, {1, 97, 1, 1, 192, 2}, kTensorCores);
  check<Float16>(kBlackwell, {1, 97, 2, 1, 256, 3}, kTensorCores);
  check<BFloat16>(kBlackwell, {1, 150, 2, 1, 192, 2, 128}, kTensorCores);
  check<BFloat16>(kBlackwell, {2, 70, 1, 1, 136, 1, 72}, kTensorCores);
  check<BFloat16>(kBlackwell, {1, 70, 1, 1, 48, 1, 96}, kTensorCores);
  check<Float16>(kTuring, {1, 75, 2, 1, 192, 2, 128}, kTensorCores);
  check<Float16>(kTuring, {1, 200, 1, 1, 64, 4}, kTensorCores);
  check<Float16>(kTuring, {1, 100, 2, 1, 128, 2}, kTensorCores);
  check<Float16>(kTuring, {1, 75, 2, 1, 184, 1}, kTensorCores);
}

TEST(CudaAttention, WhatTensorCoresDoNotTakeGoesToMultiplyAdds) {
  check<BFloat16>(kTuring, {1, 9, 2, 1, 8, 1}, kGeneral);
  check<BFloat16>(kBlackwell, {1, 9, 2, 1, 12, 1}, kGeneral);
  check<float>(kBlackwell, {1, 9, 2, 1, 16, 1}, kGeneral);
}

TEST(CudaAttention, ListsSayWhyTheyDecline) {
  const auto stream = make_stream({}, "test");
  ASSERT_STREQ(cu::attention_forward_implementations()[1].name, kTensorCores);
  ASSERT_STREQ(cu::attention_backward_implementations()[1].name, kTensorCores);
  const auto forward = [&](int version, DType dtype, std::int64_t dim, std::ptrdiff_t offset,
                           float scale) -> std::string {
    emulation::set_capability({version});
    AttentionForwardArgs args;
    args.q_TNH = Tensor{reinterpret_cast<std::byte*>(offset), {4, 2, dim}, dtype, {}};  // NOLINT
    args.v_TMH = Tensor{nullptr, {4, 2, 8}, dtype, {}};
    args.sequence_length = 4;
    args.scale = scale;
    const char* why = cu::attention_forward_implementations()[1].declines(*stream, args);
    return why == nullptr ? "" : why;
  };
  EXPECT_EQ(forward(75, DType::kF16, 256, 0, 1.0F), "");
  EXPECT_EQ(forward(80, DType::kBF16, 8, 0, 1.0F), "");
  EXPECT_EQ(forward(90, DType::kF32, 64, 0, 1.0F), "not a 16-bit type");
  EXPECT_EQ(forward(75, DType::kBF16, 64, 0, 1.0F), "a type that the tensor cores lack");
  EXPECT_EQ(forward(70, DType::kF16, 64, 0, 1.0F), "a type that the tensor cores lack");
  EXPECT_EQ(forward(80, DType::kF16, 100, 0, 1.0F), "a head dimension that is no multiple of 8");
  EXPECT_EQ(forward(80, DType::kF16, 264, 0, 1.0F), "a head dimension above 256");
  EXPECT_EQ(forward(80, DType::kF16, 64, 8, 1.0F), "unaligned tensors");
  EXPECT_EQ(forward(80, DType::kF16, 64, 0, 0.0F), "a scale that is not positive");
  emulation::set_capability({80});
  AttentionForwardArgs wide;
  wide.q_TNH = Tensor{nullptr, {4, 1 << 20, 64}, DType::kF16, {}};
  wide.v_TMH = Tensor{nullptr, {4, 1 << 20, 64}, DType::kF16, {}};
  wide.sequence_length = 4;
  EXPECT_STREQ(cu::attention_forward_implementations()[1].declines(*stream, wide),
               "very many heads");
  emulation::set_capability({75});
  AttentionBackwardArgs args;
  args.q_TNH = Tensor{nullptr, {4, 2, 200}, DType::kF16, {}};
  args.v_TMH = Tensor{nullptr, {4, 2, 64}, DType::kF16, {}};
  EXPECT_NE(cu::attention_backward_implementations()[1].declines(*stream, args), nullptr);
  emulation::set_capability({80});
  EXPECT_EQ(cu::attention_backward_implementations()[1].declines(*stream, args), nullptr);
  emulation::set_capability({});
}

// Known before there are tensors: by what a plan says of them.
TEST(CudaAttention, ImplementationsAreKnownByThePlan) {
  const auto stream = make_stream({}, "test");
  std::set<PlannedAttention> attentions;
  {
    const AttentionCollector collector(attentions);
    const auto plan = make_planning_stream({});
    const auto heads = [](std::int64_t count, std::int64_t size) {
      return Tensor{nullptr, {6, count, size}, DType::kF16, {}};
    };
    const Tensor lse{nullptr, {6, 2}, DType::kF32, {}};
    ops::attention_forward(*plan, {.out_TNH = heads(2, 128),
                                   .lse_TN = lse,
                                   .q_TNH = heads(2, 200),
                                   .k_TMH = heads(1, 200),
                                   .v_TMH = heads(1, 128),
                                   .sequence_length = 3});
    ops::attention_backward_input(*plan, {.dq_TNH = heads(2, 200),
                                          .dk_TMH = heads(1, 200),
                                          .dv_TMH = heads(1, 128),
                                          .dout_TNH = heads(2, 128),
                                          .q_TNH = heads(2, 200),
                                          .k_TMH = heads(1, 200),
                                          .v_TMH = heads(1, 128),
                                          .out_TNH = heads(2, 128),
                                          .lse_TN = lse,
                                          .document_start_T = Tensor{nullptr, {6}, DType::kI32, {}},
                                          .sequence_length = 3});
  }
  emulation::set_capability({75});
  std::map<std::string, std::string> found;
  for (const PlannedAttention& one : attentions) {
    found[text_of(one)] = cu::attention_implementation(*stream, one);
  }
  emulation::set_capability({});
  const std::string problem = "f16, 6 tokens in sequences of 3, heads 2/1 dim 200/128";
  EXPECT_EQ(found, (std::map<std::string, std::string>{
                       {problem, kTensorCores}, {problem + ", documents, backward", kGeneral}}));
}

}  // namespace
}  // namespace frugal::test
