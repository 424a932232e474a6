#include "kernels/ops/elementwise.h"

#include <cmath>

#include "kernels/cuda/map.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

struct Plus {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct Times {
  float factor;
  __device__ float operator()(float x) const { return factor * x; }
};
struct Same {
  __device__ float operator()(float x) const { return x; }
};

template <class T>
__global__ void fill_kernel(T* out, std::int64_t count, T value) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) out[i] = value;
}

template <class T>
void fill_with(Stream& stream, const Tensor& out, T value) {
  launch(stream, "fill", thread_for_each(out.numel()), fill_kernel<T>, out.as<T>(), out.numel(),
         value);
}

}  // namespace

void add(Stream& stream, Tensor out, ConstTensor a, ConstTensor b) {
  visit_float(out.dtype, [&]<class T>() { map<T, T, 1, 2>(stream, "add", {out}, {a, b}, Plus()); });
}

void scale(Stream& stream, Tensor out, ConstTensor x, float factor) {
  visit_float(out.dtype,
              [&]<class T>() { map<T, T, 1, 1>(stream, "scale", {out}, {x}, Times{factor}); });
}

void cast(Stream& stream, Tensor out, ConstTensor x) {
  visit_floats(out.dtype, x.dtype, [&]<class To, class From>() {
    map<To, From, 1, 1>(stream, "cast", {out}, {x}, Same());
  });
}

void copy(Stream& stream, Tensor out, ConstTensor x) {
  copy_bytes(stream, out.data, x.data, x.bytes());
}

void fill(Stream& stream, Tensor out, float value) {
  if (out.dtype == DType::kI32) {
    fill_with(stream, out, static_cast<std::int32_t>(std::lround(value)));
  } else if (out.dtype == DType::kU8) {
    fill_with(stream, out, static_cast<std::uint8_t>(std::lround(value)));
  } else {
    visit_float(out.dtype, [&]<class T>() { fill_with(stream, out, T(value)); });
  }
}

}  // namespace frugal::cu
