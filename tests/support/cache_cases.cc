// Keys and values of earlier tokens: rows stored, and attention over them.
#include <cmath>
#include <limits>

#include "tests/support/op_cases.h"

namespace frugal::test {
namespace {

struct CacheSize {
  std::int64_t tokens, rows, heads, kv_heads, width;
  std::int64_t overflowed = 0;  // rows, from the first one on, whose scores are minus infinity
};

// The first token sees all rows, others some of them, the last one none.
void add_attention(std::vector<OpCase>& cases, const CacheSize& s, DType dtype) {
  cases.push_back(
      {concat("attention_cached ", s.tokens, " of ", s.rows, " ", s.heads, "/", s.kv_heads, "x",
              s.width, " ", name_of(dtype), s.overflowed > 0 ? " overflowed" : ""),
       [=](const OpTable& table, Stream& stream) {
         Owned q = random_tensor({s.tokens, s.heads, s.width}, dtype, 1);
         Owned k = random_tensor({s.rows, s.kv_heads, s.width}, dtype, 2);
         const Owned v = random_tensor({s.rows, s.kv_heads, s.width}, dtype, 3);
         Owned first = random_ids(s.tokens, 0, static_cast<std::int32_t>(s.rows), 4);
         for (std::int64_t i = 0; i < s.overflowed * s.kv_heads; ++i) {
           k.set(i * s.width, -std::numeric_limits<float>::infinity());
         }
         for (std::int64_t i = 0; s.overflowed > 0 && i < s.tokens * s.heads; ++i) {
           q.set(i * s.width, 1.0F);
         }
         if (s.tokens > 0) first.get().as<std::int32_t>()[0] = 0;
         Owned last({s.tokens}, DType::kI32);
         for (std::int64_t t = 0; t < s.tokens; ++t) {
           const std::int32_t begin = first.get().as<std::int32_t>()[t];
           const auto rest = static_cast<std::int32_t>(s.rows) - begin;
           last.get().as<std::int32_t>()[t] =
               t + 1 == s.tokens && t > 0 ? begin - 1 : begin + (t == 0 ? rest - 1 : rest / 2);
         }
         Owned out({s.tokens, s.heads, s.width}, dtype);
         const auto scale = 1.0F / std::sqrt(static_cast<float>(s.width));
         table.attention_cached_forward(stream, {.out_TNH = out,
                                                 .q_TNH = q,
                                                 .k_RMH = k,
                                                 .v_RMH = v,
                                                 .first_row_T = first,
                                                 .last_row_T = last,
                                                 .scale = scale});
         std::vector<Owned> outputs;
         outputs.push_back(std::move(out));
         return outputs;
       },
       tolerance(dtype, s.rows + s.width, 4.0)});
}

void add_rows_store(std::vector<OpCase>& cases, std::int64_t width, DType dtype) {
  cases.push_back({concat("rows_store ", width, " ", name_of(dtype)),
                   [=](const OpTable& table, Stream& stream) {
                     const Owned x = random_tensor({4, width}, dtype, 1);
                     Owned rows({4}, DType::kI32), out = random_tensor({9, width}, dtype, 2);
                     for (int t = 0; t < 4; ++t) {
                       rows.get().as<std::int32_t>()[t] = t == 2 ? -1 : (5 * t + 3) % 9;
                     }
                     table.rows_store(stream, out, rows, x);
                     std::vector<Owned> outputs;
                     outputs.push_back(std::move(out));
                     return outputs;
                   },
                   tolerance(dtype, 0, 1.0)});
}

}  // namespace

void add_cache_cases(std::vector<OpCase>& cases) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const CacheSize size :
         {CacheSize{1, 1, 1, 1, 1}, CacheSize{3, 7, 4, 2, 20}, CacheSize{5, 200, 6, 1, 64},
          CacheSize{2, 131, 3, 3, 128}, CacheSize{0, 4, 2, 2, 8}, CacheSize{2, 70, 2, 1, 256},
          CacheSize{1, 300, 7, 1, 36}, CacheSize{600, 4, 2, 1, 256},
          CacheSize{1, 200, 3, 1, 24, 150}}) {
      add_attention(cases, size, dtype);
    }
    for (const std::int64_t width : {1, 24, 129}) add_rows_store(cases, width, dtype);
  }
}

}  // namespace frugal::test
