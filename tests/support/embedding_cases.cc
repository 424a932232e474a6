#include "tests/support/case_lists.h"

namespace frugal::test {
namespace {

// Which ids there are: of a table's part with rows [4, 4 + rows).
enum class Ids : std::uint8_t { kRandom, kOne, kDistinct, kOutside, kFrequent };
constexpr const char* kIdNames[] = {"random", "one", "distinct", "outside", "frequent"};

struct EmbeddingSize {
  std::int64_t tokens, width, rows = 11;
  Ids ids = Ids::kRandom;
};

Owned make_ids(const EmbeddingSize& s) {
  const auto rows = static_cast<std::int32_t>(s.rows);
  Owned out = random_ids(s.tokens, 0, rows + 9, 3);
  auto* id = out.get().as<std::int32_t>();
  for (std::int64_t t = 0; t < s.tokens; ++t) {
    const auto token = static_cast<std::int32_t>(t);
    switch (s.ids) {
      case Ids::kRandom:
        break;
      case Ids::kOne:
        id[t] = 4 + rows - 1;
        break;
      case Ids::kDistinct:  // every row once, far from order; REQUIRES: tokens == rows, not 7 n
        id[t] = 4 + token * 7 % rows;
        break;
      case Ids::kOutside:  // on both sides, also far away
        id[t] = token % 3 == 0 ? 3 - token * 99991 : 4 + rows + token * 99991;
        break;
      case Ids::kFrequent:  // every second token is the same, as a space may be
        if (t % 2 == 0) id[t] = 9;
        break;
    }
  }
  return out;
}

void add_embedding(std::vector<OpCase>& cases, DType dtype, const EmbeddingSize& s) {
  cases.push_back(
      {concat("embedding ", s.tokens, "x", s.width, " of ", s.rows, " rows, ids ",
              kIdNames[static_cast<int>(s.ids)], " ", name_of(dtype)),
       [=](const OpTable& table, Stream& stream) {
         const Owned rows = random_tensor({s.rows, s.width}, dtype, 1),
                     dy = random_tensor({s.tokens, s.width}, dtype, 2);
         const Owned ids = make_ids(s);
         Owned out({s.tokens, s.width}, dtype), sum = random_tensor({s.tokens, s.width}, dtype, 4);
         Owned drows = random_tensor({s.rows, s.width}, DType::kF32, 5);
         table.embedding_forward(stream,
                                 {.out_TD = out, .table_VD = rows, .ids_T = ids, .row_begin = 4});
         table.embedding_forward(
             stream,
             {.out_TD = sum, .table_VD = rows, .ids_T = ids, .row_begin = 4, .accumulate = true});
         table.embedding_backward_weight(stream, drows, dy, ids, 4);
         return outputs(std::move(out), std::move(sum), std::move(drows));
       },
       tolerance(dtype, s.tokens, 4.0)});
}

}  // namespace

void add_embedding_cases(std::vector<OpCase>& cases, DType dtype) {
  for (const EmbeddingSize& size :
       {EmbeddingSize{50, 9}, EmbeddingSize{300, 517}, EmbeddingSize{0, 4}, EmbeddingSize{5, 0},
        EmbeddingSize{90, 24, 11, Ids::kOne}, EmbeddingSize{33, 8, 1, Ids::kOne},
        EmbeddingSize{600, 5, 600, Ids::kDistinct}, EmbeddingSize{40, 16, 11, Ids::kOutside},
        EmbeddingSize{400, 264, 300, Ids::kFrequent},
        // Several blocks of the sort; one, two and three digits, the last also for rows that end
        // where a digit does.
        EmbeddingSize{2600, 4, 255}, EmbeddingSize{2600, 4, 256}, EmbeddingSize{3000, 1, 65535}}) {
    add_embedding(cases, dtype, size);
  }
  if (dtype != DType::kF32) return;
  add_embedding(cases, dtype, {3000, 1, 65536});
  add_embedding(cases, dtype, {1024, 3, 70000, Ids::kFrequent});
}

}  // namespace frugal::test
