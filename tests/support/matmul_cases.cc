#include <cmath>

#include "tests/support/case_lists.h"

namespace frugal::test {
namespace {

// What becomes of the products.
enum class End : std::uint8_t { kPlain, kAccumulate, kAdd, kGelu, kDgelu };
constexpr const char* kEndNames[] = {"", " +=", " add", " gelu", " dgelu"};

struct Product {
  std::int64_t m, n, k;
  DType in, out;
  bool ta, tb, bias;
  End end;
};

Tolerance allowed(const Product& p) {
  return p.end == End::kGelu || p.end == End::kDgelu ? gelu_tolerance(p.out, p.k + 2)
                                                     : tolerance(p.out, p.k + 2, 8.0);
}

void add_product(std::vector<OpCase>& cases, const Product& p) {
  const bool gelu = p.end == End::kGelu || p.end == End::kDgelu;
  // GELU bends near 0.
  const float scale = gelu ? 1.0F / std::sqrt(static_cast<float>(p.k + 1)) : 1.0F;
  cases.push_back(
      {concat("matmul ", p.m, "x", p.n, "x", p.k, " ", name_of(p.in), "->", name_of(p.out),
              p.ta ? " ta" : "", p.tb ? " tb" : "", p.bias ? " bias" : "",
              kEndNames[static_cast<int>(p.end)]),
       [=](const OpTable& table, Stream& stream) {
         const Owned a = random_tensor(p.ta ? Shape{p.k, p.m} : Shape{p.m, p.k}, p.in, 1, scale);
         const Owned b = random_tensor(p.tb ? Shape{p.n, p.k} : Shape{p.k, p.n}, p.in, 2);
         const Owned bias_N = random_tensor({p.n}, p.in, 3);
         const Shape shape{p.m, p.n};
         Owned c = p.end == End::kAccumulate ? random_tensor(shape, p.out, 4) : Owned(shape, p.out);
         MatmulArgs args{.out_MN = c,
                         .a = a,
                         .b = b,
                         .transpose_a = p.ta,
                         .transpose_b = p.tb,
                         .accumulate = p.end == End::kAccumulate};
         if (p.bias) args.bias_N = bias_N;
         if (p.end == End::kPlain || p.end == End::kAccumulate) {
           table.matmul(stream, args);
           return outputs(std::move(c));
         }
         Owned other = p.end == End::kGelu ? Owned(shape, p.out) : random_tensor(shape, p.out, 5);
         if (p.end == End::kAdd) args.add_MN = other;
         if (p.end == End::kGelu) args.gelu_input_MN = other;
         if (p.end == End::kDgelu) args.dgelu_input_MN = other;
         table.matmul(stream, args);
         return outputs(std::move(c), std::move(other));
       },
       allowed(p)});
}

void add_products(std::vector<OpCase>& cases, const Product& size, DType in, DType out) {
  for (int flags = 0; flags < 8; ++flags) {
    for (const End end : {End::kPlain, End::kAccumulate, End::kAdd, End::kGelu, End::kDgelu}) {
      Product p = size;
      p.in = in;
      p.out = out;
      p.ta = (flags & 1) != 0;
      p.tb = (flags & 2) != 0;
      p.bias = (flags & 4) != 0;
      p.end = end;
      if (p.bias && (end == End::kAccumulate || end == End::kDgelu)) continue;
      // Several pieces of a sum into a gradient; nothing else depends on so large a result.
      const bool gradient = in == DType::kBF16 && out == DType::kF32 && end == End::kAccumulate;
      if (p.m * p.n > (1 << 20) && !gradient) continue;
      // What comes after the product does not depend on how its factors lie.
      if (end > End::kAccumulate && p.ta) continue;
      add_product(cases, p);
    }
  }
}

// Products of different widths, one of them empty, with and without a bias and an addend, of one
// input and between them of another.
void add_group(std::vector<OpCase>& cases, std::int64_t m, DType dtype) {
  constexpr std::int64_t kInner = 70;
  cases.push_back({concat("matmul_group ", m, " ", name_of(dtype)),
                   [=](const OpTable& table, Stream& stream) {
                     const Owned a = random_tensor({m, kInner}, dtype, 1),
                                 other = random_tensor({m, kInner}, dtype, 5),
                                 bias = random_tensor({40}, dtype, 2),
                                 addend = random_tensor({m, 17}, dtype, 3);
                     std::vector<Owned> weights, outs;
                     std::vector<MatmulArgs> products;
                     for (const std::int64_t n : {17, 40, 0, 5}) {
                       weights.push_back(random_tensor({n, kInner}, dtype, 4));
                       outs.push_back(Owned({m, n}, dtype));
                       products.push_back(
                           {.out_MN = outs.back(),
                            .a = n == 40 ? ConstTensor(other) : ConstTensor(a),
                            .b = weights.back(),
                            .transpose_b = true,
                            .bias_N = n == 40 ? ConstTensor(bias) : ConstTensor(),
                            .add_MN = n == 17 ? ConstTensor(addend) : ConstTensor()});
                     }
                     table.matmul_group(stream, products);
                     return outs;
                   },
                   tolerance(dtype, kInner + 2, 8.0)});
}

}  // namespace

void add_matmul_cases(std::vector<OpCase>& cases) {
  for (const Product& size :
       {Product{1, 1, 1}, Product{3, 5, 7}, Product{33, 17, 65}, Product{0, 4, 3}, Product{4, 3, 0},
        Product{64, 96, 128}, Product{257, 193, 200}, Product{3, 3072, 9}, Product{130, 16384, 8},
        Product{1, 40, 333}, Product{2, 17, 200}, Product{4, 33, 130}}) {
    for (const DType in : kDtypes) {
      for (const DType out : kDtypes) {
        if (in != out && in != DType::kF32 && out != DType::kF32) continue;
        add_products(cases, size, in, out);
      }
    }
  }
  for (const DType dtype : kDtypes) {
    for (const std::int64_t m : {1, 4, 9}) add_group(cases, m, dtype);
  }
}

}  // namespace frugal::test
