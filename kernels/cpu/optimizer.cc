#include "kernels/ops/optimizer.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/ops/op_table.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cc"
#include "hwy/foreach_target.h"  // must come before highway.h

#include "kernels/cpu/double_sum_inl.h"
#include "kernels/cpu/vector_inl.h"

HWY_BEFORE_NAMESPACE();
namespace frugal::cpu::HWY_NAMESPACE {

template <class T>
void adamw_elements(const AdamwArgs& args, std::int64_t begin, std::int64_t end) {
  const F32 d;
  T* weight = args.weight_N.as<T>();
  float* master = given(args.master_N) ? args.master_N.as<float>() : nullptr;
  float* m = args.m_N.as<float>();
  float* v = args.v_N.as<float>();
  const float* grad = args.grad_N.as<float>();
  const Vec grad_scale = hn::Set(d, args.grad_scale), decay = hn::Set(d, args.weight_decay);
  const Vec beta1 = hn::Set(d, args.beta1), rest1 = hn::Set(d, 1.0F - args.beta1);
  const Vec beta2 = hn::Set(d, args.beta2), rest2 = hn::Set(d, 1.0F - args.beta2);
  const Vec correct1 = hn::Set(d, 1.0F / args.bias_correction1);
  const Vec correct2 = hn::Set(d, 1.0F / args.bias_correction2);
  const Vec eps = hn::Set(d, args.eps), rate = hn::Set(d, args.learning_rate);
  for_vectors(begin, end, [&](std::int64_t i, auto lanes) {
    const Vec g = hn::Mul(load(grad + i, lanes), grad_scale);
    const Vec new_m = hn::MulAdd(beta1, load(m + i, lanes), hn::Mul(rest1, g));
    const Vec new_v = hn::MulAdd(beta2, load(v + i, lanes), hn::Mul(rest2, hn::Mul(g, g)));
    const Vec scale = hn::Add(hn::Sqrt(hn::Mul(new_v, correct2)), eps);
    const Vec old = master != nullptr ? load(master + i, lanes) : load(weight + i, lanes);
    const Vec update = hn::MulAdd(decay, old, hn::Div(hn::Mul(new_m, correct1), scale));
    const Vec w = hn::NegMulAdd(rate, update, old);
    store(new_m, m + i, lanes);
    store(new_v, v + i, lanes);
    if (master != nullptr) store(w, master + i, lanes);
    store(w, weight + i, lanes);
  });
}

void adamw(const AdamwArgs& args) {
  visit_float(args.weight_N.dtype, [&]<class T>() {
    parallel_blocks(
        args.weight_N.numel(), kElementBlock,
        [&](std::int64_t begin, std::int64_t end) { adamw_elements<T>(args, begin, end); });
  });
}

void sum_squares(const Tensor& out_B, const ConstTensor& x_N, std::int64_t block) {
  parallel_for(out_B.numel(), block, [&](std::int64_t b) {
    const std::int64_t begin = b * block;
    const std::int64_t count = std::min(block, x_N.numel() - begin);
    const double sum =
        sum_doubles(x_N.as<float>() + begin, count, [](Vec64 x) { return hn::Mul(x, x); });
    out_B.as<float>()[b] = static_cast<float>(sum);
  });
}

}  // namespace frugal::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace frugal::cpu {

HWY_EXPORT(adamw);
HWY_EXPORT(sum_squares);

void adamw_step(Stream& stream, const AdamwArgs& args) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(adamw)(args); });
}

void block_sum_squares(Stream& stream, Tensor out, ConstTensor x, std::int64_t block) {
  stream.run_host([=] { HWY_DYNAMIC_DISPATCH(sum_squares)(out, x, block); });
}

}  // namespace frugal::cpu
#endif  // HWY_ONCE
