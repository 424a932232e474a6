// Ops that compute every element of their outputs from the same element of their inputs.
#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/core/tensor.h"
#include "kernels/cuda/device/element.h"
#include "kernels/cuda/launch.h"

namespace frugal::cu {

// What a function of several results returns.
template <int kCount>
struct Floats {
  float value[kCount];
};

template <class T, int kCount>
struct Pointers {
  T* at[kCount];
};

template <class To, class From, int kOutputs, int kInputs, class Fn>
struct MapArgs {
  Pointers<To, kOutputs> out;
  Pointers<const From, kInputs> in;
  std::int64_t count;
  Fn fn;
};

// The outputs' elements [i, i + kSize).
template <int kSize, class To, class From, int kOutputs, int kInputs, class Fn>
__device__ __forceinline__ void map_pack(const MapArgs<To, From, kOutputs, kInputs, Fn>& a,
                                         std::int64_t i) {
  Pack<From, kSize> in[kInputs];
  Pack<To, kSize> out[kOutputs];
#pragma unroll
  for (int n = 0; n < kInputs; ++n) in[n] = load<kSize>(a.in.at[n] + i);
#pragma unroll
  for (int e = 0; e < kSize; ++e) {
    const Floats<kOutputs> result = [&]<std::size_t... kIn>(std::index_sequence<kIn...>) {
      return Floats<kOutputs>{a.fn(to_float(in[kIn].element[e])...)};
    }
    (std::make_index_sequence<kInputs>());
#pragma unroll
    for (int n = 0; n < kOutputs; ++n) out[n].element[e] = from_float<To>(result.value[n]);
  }
#pragma unroll
  for (int n = 0; n < kOutputs; ++n) store(a.out.at[n] + i, out[n]);
}

template <int kSize, class To, class From, int kOutputs, int kInputs, class Fn>
__global__ void map_kernel(MapArgs<To, From, kOutputs, kInputs, Fn> a) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kSize;
  if (i + kSize <= a.count) {
    map_pack<kSize>(a, i);
  } else {
    for (std::int64_t tail = i; tail < a.count; ++tail) map_pack<1>(a, tail);
  }
}

// out (=) fn(in...), computed in float. An output may be an input: a thread reads its elements
// before it writes them. fn: a __device__ function object from floats to a float or Floats.
template <class To, class From, int kOutputs, int kInputs, class Fn>
void map(Stream& stream, std::string_view name, const std::array<Tensor, kOutputs>& out,
         const std::array<ConstTensor, kInputs>& in, Fn fn) {
  MapArgs<To, From, kOutputs, kInputs, Fn> a{.count = out[0].numel(), .fn = fn};
  bool aligned = true;
  const auto look = [&](const void* data) {
    aligned = aligned && reinterpret_cast<std::uintptr_t>(data) % 16 == 0;
  };
  for (int n = 0; n < kOutputs; ++n)
    look(a.out.at[n] = out[static_cast<std::size_t>(n)].template as<To>());
  for (int n = 0; n < kInputs; ++n)
    look(a.in.at[n] = in[static_cast<std::size_t>(n)].template as<From>());
  constexpr int kSize = std::min(kWhole<To>, kWhole<From>);
  const auto run = [&]<int kPack>() {
    launch(stream, name, thread_for_each((a.count + kPack - 1) / kPack),
           map_kernel<kPack, To, From, kOutputs, kInputs, Fn>, a);
  };
  aligned ? run.template operator()<kSize>() : run.template operator()<1>();
}

}  // namespace frugal::cu
