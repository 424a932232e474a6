#include "tests/support/case_lists.h"

namespace frugal::test {

void add_matmul_cases(std::vector<OpCase>& cases) {
  struct Size {
    std::int64_t m, n, k;
  };
  for (const Size s :
       {Size{1, 1, 1}, Size{3, 5, 7}, Size{33, 17, 65}, Size{0, 4, 3}, Size{4, 3, 0},
        Size{64, 96, 128}, Size{257, 193, 200}, Size{3, 3072, 9}, Size{130, 16384, 8}}) {
    for (const DType in : kDtypes) {
      for (const DType out : kDtypes) {
        if (in != out && in != DType::kF32 && out != DType::kF32) continue;
        for (int flags = 0; flags < 16; ++flags) {
          const bool ta = (flags & 1) != 0, tb = (flags & 2) != 0, accumulate = (flags & 4) != 0,
                     bias = (flags & 8) != 0;
          if (accumulate && bias) continue;
          // Several pieces of a sum into a gradient; nothing else depends on so large a result.
          const bool gradient = in == DType::kBF16 && out == DType::kF32 && accumulate;
          if (s.m * s.n > (1 << 20) && !gradient) continue;
          cases.push_back(
              {concat("matmul ", s.m, "x", s.n, "x", s.k, " ", name_of(in), "->", name_of(out),
                      ta ? " ta" : "", tb ? " tb" : "", accumulate ? " +=" : "",
                      bias ? " bias" : ""),
               [=](const OpTable& table, Stream& stream) {
                 const Owned a = random_tensor(ta ? Shape{s.k, s.m} : Shape{s.m, s.k}, in, 1);
                 const Owned b = random_tensor(tb ? Shape{s.n, s.k} : Shape{s.k, s.n}, in, 2);
                 const Owned bias_N = random_tensor({s.n}, in, 3);
                 Owned c = accumulate ? random_tensor({s.m, s.n}, out, 4) : Owned({s.m, s.n}, out);
                 table.matmul(stream, {.out_MN = c,
                                       .a = a,
                                       .b = b,
                                       .transpose_a = ta,
                                       .transpose_b = tb,
                                       .accumulate = accumulate,
                                       .bias_N = bias ? ConstTensor(bias_N) : ConstTensor()});
                 return outputs(std::move(c));
               },
               tolerance(out, s.k + 2, 8.0)});
        }
      }
    }
  }
}

}  // namespace frugal::test
