// Products: the list of implementations, and the last of them, for every card, type and shape:
// multiply-adds in float32, no tensor cores.
//
// A block computes a 64 x 64 tile of the result, a thread 4 x 4 of it, walking over the inner
// dimension in steps of 16 that stand in shared memory.
#include "kernels/ops/matmul.h"

#include <array>

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/device/element.h"
#include "kernels/cuda/launch.h"
#include "kernels/ops/implementations.h"
#include "kernels/ops/op_table.h"
#include "kernels/ops/product.h"

namespace frugal::cu {
namespace {

constexpr int kTile = 64, kStep = 16, kOwn = 4, kThreads = (kTile / kOwn) * (kTile / kOwn);
constexpr int kStride = kTile + 4;  // keeps 16-byte alignment, and columns out of one bank
constexpr std::size_t kSharedBytes = 2UL * kStep * kStride * sizeof(float);

// One side of the product: `rows` of length `depth`, or stored as [depth, rows].
template <class In>
struct Operand {
  const In* x;
  std::int64_t rows, depth;
  bool transposed;
};

// Copies elements (first + i, k + j), i < kTile, j < kStep, to tile[j][i]; what does not exist is
// 0. Neighbouring threads read neighbours in memory.
template <class In>
__device__ __forceinline__ void fill_tile(float* tile, const Operand<In>& from, std::int64_t first,
                                          std::int64_t k) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kStep; i += kThreads) {
    const int row = from.transposed ? i % kTile : i / kStep;
    const int step = from.transposed ? i / kTile : i % kStep;
    const std::int64_t r = first + row, c = k + step;
    float value = 0.0F;
    if (r < from.rows && c < from.depth) {
      value = to_float(from.transposed ? from.x[c * from.rows + r] : from.x[r * from.depth + c]);
    }
    tile[step * kStride + row] = value;
  }
}

template <class In, class Out>
struct Product {
  Out* out;
  Operand<In> a, b;  // b by columns
  const In* bias;    // or null
  const Out* add;    // or null
  std::int64_t m, n, k;
  bool accumulate;
};

template <class In, class Out>
__global__ void matmul_kernel(Product<In, Out> p) {
  float* a = shared<float>();
  float* b = a + kStep * kStride;
  const std::int64_t tiles = (p.n + kTile - 1) / kTile;
  const std::int64_t row = blockIdx.x / tiles * kTile, column = blockIdx.x % tiles * kTile;
  const int own_row = static_cast<int>(threadIdx.x) / (kTile / kOwn) * kOwn;
  const int own_column = static_cast<int>(threadIdx.x) % (kTile / kOwn) * kOwn;
  float sums[kOwn][kOwn] = {};
  for (std::int64_t k = 0; k < p.k; k += kStep) {
    __syncthreads();
    fill_tile(a, p.a, row, k);
    fill_tile(b, p.b, column, k);
    __syncthreads();
#pragma unroll
    for (int step = 0; step < kStep; ++step) {
      const auto x = load<kOwn>(a + step * kStride + own_row);
      const auto y = load<kOwn>(b + step * kStride + own_column);
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
#pragma unroll
        for (int j = 0; j < kOwn; ++j) sums[i][j] = fmaf(x.element[i], y.element[j], sums[i][j]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      const std::int64_t r = row + own_row + i, c = column + own_column + j;
      if (r >= p.m || c >= p.n) continue;
      Out* to = p.out + r * p.n + c;
      float value = sums[i][j];
      if (p.accumulate) value += to_float(*to);
      if (p.bias != nullptr) value += to_float(p.bias[c]);
      if (p.add != nullptr) value += to_float(p.add[r * p.n + c]);
      *to = from_float<Out>(value);
    }
  }
}

void general_matmul(Stream& stream, const MatmulArgs& args) {
  visit_floats(args.a.dtype, args.out_MN.dtype, [&]<class In, class Out>() {
    const std::int64_t m = args.out_MN.shape[0], n = args.out_MN.shape[1];
    const std::int64_t k = args.a.shape[args.transpose_a ? 0 : 1];
    Product<In, Out> p{.out = args.out_MN.as<Out>(),
                       .a = {args.a.as<In>(), m, k, args.transpose_a},
                       .b = {args.b.as<In>(), n, k, !args.transpose_b},
                       .m = m,
                       .n = n,
                       .k = k,
                       .accumulate = args.accumulate};
    if (given(args.bias_N)) p.bias = args.bias_N.as<In>();
    if (given(args.add_MN)) p.add = args.add_MN.as<Out>();
    const std::int64_t tiles = ((m + kTile - 1) / kTile) * ((n + kTile - 1) / kTile);
    launch(stream, "matmul", {.blocks_x = tiles, .threads = kThreads, .shared_bytes = kSharedBytes},
           matmul_kernel<In, Out>, p);
  });
}

// The product by what comes after this in the list or before, and GELU by itself.
void matmul_then_gelu(Stream& stream, const MatmulArgs& args) {
  MatmulArgs product = args;
  product.gelu_input_MN = {};
  product.dgelu_input_MN = {};
  if (given(args.gelu_input_MN)) product.out_MN = args.gelu_input_MN;
  cu::matmul(stream, product);
  if (given(args.gelu_input_MN)) {
    cu::gelu_forward(stream, args.out_MN, args.gelu_input_MN);
  } else {
    cu::gelu_backward_input(stream, args.out_MN, args.out_MN, args.dgelu_input_MN);
  }
}

constexpr std::array<Implementation<MatmulArgs>, 3> kImplementations{{
    {"cuBLASLt", cublaslt_declines, cublaslt_matmul},
    {"a product, then GELU",
     [](Stream&, const MatmulArgs& args) -> const char* {
       return given(args.gelu_input_MN) || given(args.dgelu_input_MN) ? nullptr
                                                                      : "there is no GELU";
     },
     matmul_then_gelu},
    {"multiply-adds", [](Stream&, const MatmulArgs&) -> const char* { return nullptr; },
     general_matmul},
}};

}  // namespace

void matmul(Stream& stream, const MatmulArgs& args) {
  run_first<MatmulArgs>("matmul", kImplementations, stream, args,
                        [](const MatmulArgs& a) { return text_of(product_of(a)); });
}

void matmul_group(Stream& stream, std::span<const MatmulArgs> products) {
  for (const MatmulArgs& args : products) matmul(stream, args);
}

}  // namespace frugal::cu
