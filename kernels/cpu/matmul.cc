// oneDNN 2.6, or packed_matmul or thin_matmul where those are faster. Primitives are created once
// per problem and shared by all threads. Each call brings its own scratchpad: the one that the
// library manages belongs to the primitive, and ranks that are threads would write into each
// other's.
#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <unordered_map>
#include <vector>

#include <dnnl.hpp>

#include "kernels/cpu/packed_matmul.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/thin_matmul.h"
#include "kernels/ops/op_table.h"

namespace frugal::cpu {
namespace {

using dnnl::memory;

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

// Whether bf16 products are faster than float32 ones. Without AVX512_BF16 oneDNN throws or crawls;
// Intel cores without AMX have it, at half the speed of float32. Asked of the processor and not
// measured, so that bits never depend on timing.
bool has_fast_bf16() {
  static const bool fast = [] {
    const auto isa = dnnl::get_effective_cpu_isa();
    const bool tiles = isa >= dnnl::cpu_isa::avx512_core_amx;
    return tiles || (isa >= dnnl::cpu_isa::avx512_core_bf16 && __builtin_cpu_is("amd") != 0);
  }();
  return fast;
}

memory::data_type type_of(DType dtype) {
  return dtype == DType::kBF16 ? memory::data_type::bf16 : memory::data_type::f32;
}

struct Problem {
  std::int64_t m, n, k;
  std::int64_t a_columns;  // of a as it is stored
  bool transpose_a, transpose_b, accumulate, bias;
  DType in, out;
  auto key() const {
    return std::tie(m, n, k, a_columns, transpose_a, transpose_b, accumulate, bias, in, out);
  }
  bool operator<(const Problem& other) const { return key() < other.key(); }
};

struct Compiled {
  memory::desc a, b, c, bias, scratchpad;
  dnnl::matmul primitive;
};

// stored_columns: elements from one stored row to the next.
memory::desc matrix(const memory::dims& sizes, DType dtype, bool transposed,
                    std::int64_t stored_columns) {
  const auto strides =
      transposed ? memory::dims{1, stored_columns} : memory::dims{stored_columns, 1};
  return {sizes, type_of(dtype), strides};
}

std::shared_ptr<const Compiled> compile(const Problem& p) {
  auto out = std::make_shared<Compiled>();
  out->a = matrix({p.m, p.k}, p.in, p.transpose_a, p.a_columns);
  out->b = matrix({p.k, p.n}, p.in, p.transpose_b, p.transpose_b ? p.k : p.n);
  out->c = matrix({p.m, p.n}, p.out, false, p.n);
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (p.accumulate) {
    dnnl::post_ops post;
    post.append_sum(1.0F);
    attributes.set_post_ops(post);
  }
  if (p.bias) out->bias = matrix({1, p.n}, p.in, false, p.n);
  const auto description =
      p.bias
          ? dnnl::matmul::primitive_desc({out->a, out->b, out->bias, out->c}, attributes, engine())
          : dnnl::matmul::primitive_desc({out->a, out->b, out->c}, attributes, engine());
  out->scratchpad = description.scratchpad_desc();
  out->primitive = dnnl::matmul(description);
  return out;
}

std::shared_ptr<const Compiled> compiled(const Problem& problem) {
  static std::mutex mutex;
  static std::map<Problem, std::shared_ptr<const Compiled>> cache;
  const std::lock_guard lock(mutex);
  auto& entry = cache[problem];
  if (entry == nullptr) entry = compile(problem);
  return entry;
}

void run(const Problem& problem, const MatmulArgs& args) {
  const auto code = compiled(problem);
  const auto wrap = [](const memory::desc& desc, const void* data) {
    return memory(desc, engine(), const_cast<void*>(data));  // oneDNN's interface knows no const
  };
  std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, wrap(code->a, args.a.data)},
                                            {DNNL_ARG_WEIGHTS, wrap(code->b, args.b.data)},
                                            {DNNL_ARG_DST, wrap(code->c, args.out_MN.data)}};
  thread_local std::vector<std::byte> scratchpad;
  if (scratchpad.size() < code->scratchpad.get_size())
    scratchpad.resize(code->scratchpad.get_size());
  arguments.emplace(DNNL_ARG_SCRATCHPAD, wrap(code->scratchpad, scratchpad.data()));
  if (problem.bias) arguments.emplace(DNNL_ARG_BIAS, wrap(code->bias, args.bias_N.data));
  dnnl::stream stream(engine());
  code->primitive.execute(stream, arguments);
  stream.wait();
}

// Adding to a float32 result costs oneDNN half a bf16 product again. So rows are multiplied in
// pieces that stay in the cache, and added from there.
void accumulate_in_pieces(const Problem& problem, const MatmulArgs& args) {
  constexpr std::int64_t kPieceElements = std::int64_t{1} << 20, kRows = 64;
  const std::int64_t rows = std::max(kPieceElements / problem.n / kRows * kRows, kRows);
  thread_local std::vector<float> sums;
  for (std::int64_t begin = 0; begin < problem.m; begin += rows) {
    Problem piece = problem;
    piece.m = std::min(rows, problem.m - begin);
    piece.accumulate = false;
    const std::int64_t count = piece.m * piece.n;
    if (std::ssize(sums) < count) sums.resize(static_cast<std::size_t>(count));
    MatmulArgs piece_args = args;
    piece_args.a.data += (args.transpose_a ? begin : begin * problem.k) * size_of(problem.in);
    piece_args.out_MN = {reinterpret_cast<std::byte*>(sums.data()), {piece.m, piece.n}};
    run(piece, piece_args);
    float* out = args.out_MN.as<float>() + begin * problem.n;
    const float* in = sums.data();
    parallel_blocks(count, kElementBlock, [=](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) out[i] += in[i];
    });
  }
}

// out (=) add. oneDNN then adds to out: its own addition of a whole matrix is its slow reference
// code in places.
void copy_addend(const MatmulArgs& args) {
  const std::size_t size = size_of(args.out_MN.dtype);
  std::byte* to = args.out_MN.data;
  const std::byte* from = args.add_MN.data;
  parallel_blocks(args.out_MN.numel(), kElementBlock, [=](std::int64_t begin, std::int64_t end) {
    std::memcpy(to + begin * size, from + begin * size,
                static_cast<std::size_t>(end - begin) * size);
  });
}

// No inner dimension: the bias and the addend, or nothing added.
void without_products(const MatmulArgs& args) {
  if (args.accumulate) return;
  const std::int64_t columns = args.out_MN.shape[1];
  visit_float(args.out_MN.dtype, [&]<class T>() {
    for (std::int64_t i = 0; i < args.out_MN.numel(); ++i) {
      float value = 0.0F;
      if (args.bias_N.data != nullptr) {
        visit_float(args.bias_N.dtype, [&]<class B>() {
          value = static_cast<float>(args.bias_N.as<B>()[i % columns]);
        });
      }
      if (given(args.add_MN)) value += static_cast<float>(args.add_MN.as<T>()[i]);
      args.out_MN.as<T>()[i] = T(value);
    }
  });
}

// Without AVX-512 oneDNN divides the sum of float32 products over threads where that is faster, so
// that bits depend on how many there are.
bool has_steady_float32() {
  static const bool steady = dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core;
  return steady;
}

bool needs_packing(const Problem& p) {
  if (p.in == DType::kF16 || p.out == DType::kF16) return true;
  if (p.in == DType::kBF16) return !has_fast_bf16();
  if (!has_steady_float32()) return true;
  // For these widths oneDNN reads a plain b in place, though its rows lie whole pages apart and so
  // fall on the same cache lines; for powers of two it copies. Up to 2.4 times slower.
  const bool pages_apart =
      !p.transpose_b && p.n % 1024 == 0 && !std::has_single_bit(static_cast<std::uint64_t>(p.n));
  return pages_apart || p.out == DType::kBF16;
}

void multiply(const MatmulArgs& args) {
  Problem problem{.m = args.out_MN.shape[0],
                  .n = args.out_MN.shape[1],
                  .k = args.a.shape[args.transpose_a ? 0 : 1],
                  .a_columns = args.a.shape[1],
                  .transpose_a = args.transpose_a,
                  .transpose_b = args.transpose_b,
                  .accumulate = args.accumulate,
                  .bias = args.bias_N.data != nullptr,
                  .in = args.a.dtype,
                  .out = args.out_MN.dtype};
  if (problem.m == 0 || problem.n == 0) return;
  if (problem.k == 0) return without_products(args);
  if (is_thin(args)) return thin_matmul({&args, 1});
  if (needs_packing(problem)) return packed_matmul(args);
  if (given(args.add_MN)) {
    copy_addend(args);
    problem.accumulate = true;
  }
  if (problem.accumulate && problem.in != problem.out) {
    accumulate_in_pieces(problem, args);
  } else {
    run(problem, args);
  }
}

}  // namespace

void matmul(Stream& stream, const MatmulArgs& args) {
  if (given(args.gelu_input_MN)) {
    MatmulArgs product = args;
    product.out_MN = args.gelu_input_MN;
    stream.run_host([=] { multiply(product); });
    return gelu_forward(stream, args.out_MN, args.gelu_input_MN);
  }
  stream.run_host([=] { multiply(args); });
  if (given(args.dgelu_input_MN)) {
    gelu_backward_input(stream, args.out_MN, args.out_MN, args.dgelu_input_MN);
  }
}

void matmul_group(Stream& stream, std::span<const MatmulArgs> products) {
  const auto joins = [](const MatmulArgs& args) {
    return is_thin(args) && !given(args.gelu_input_MN) && !given(args.dgelu_input_MN);
  };
  if (std::ranges::all_of(products, joins)) {
    return stream.run_host([group = std::vector<MatmulArgs>(products.begin(), products.end())] {
      thin_matmul(group);
    });
  }
  for (const MatmulArgs& args : products) matmul(stream, args);
}

}  // namespace frugal::cpu
