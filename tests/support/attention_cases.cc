#include <cmath>

#include "tests/support/case_lists.h"

namespace frugal::test {
namespace {

struct AttentionSize {
  std::int64_t sequences, length, heads, kv_heads, head_dim;
  bool documents;
  std::int64_t other_value_dim = 0;  // 0: like head_dim
  std::int64_t value_dim() const { return other_value_dim > 0 ? other_value_dim : head_dim; }
};

Owned document_starts(const AttentionSize& s) {
  Owned out({s.sequences * s.length}, DType::kI32);
  for (std::int64_t t = 0; t < s.sequences * s.length; ++t) {
    const std::int64_t position = t % s.length;
    const std::int64_t cut =
        s.length / 3 + t / s.length;  // one boundary, elsewhere in each sequence
    out.get().as<std::int32_t>()[t] = static_cast<std::int32_t>(position >= cut ? cut : 0);
  }
  return out;
}

void add_attention(std::vector<OpCase>& cases, const AttentionSize& s, DType dtype) {
  const std::int64_t tokens = s.sequences * s.length;
  const Shape query{tokens, s.heads, s.head_dim}, key{tokens, s.kv_heads, s.head_dim};
  const Shape value{tokens, s.kv_heads, s.value_dim()}, result{tokens, s.heads, s.value_dim()};
  const float scale = 1.0F / std::sqrt(static_cast<float>(s.head_dim));
  cases.push_back(
      {concat("attention ", s.sequences, "x", s.length, " heads ", s.heads, "/", s.kv_heads,
              " dim ", s.head_dim, "/", s.value_dim(), s.documents ? " documents " : " ",
              name_of(dtype)),
       [=](const OpTable& table, Stream& stream) {
         const Owned q = random_tensor(query, dtype, 1), k = random_tensor(key, dtype, 2),
                     v = random_tensor(value, dtype, 3);
         const Owned dout = random_tensor(result, dtype, 4);
         const Owned documents = document_starts(s);
         const ConstTensor mask = s.documents ? ConstTensor(documents) : ConstTensor();
         Owned out(result, dtype), lse({tokens, s.heads}, DType::kF32);
         table.attention_forward(stream, {.out_TNH = out,
                                          .lse_TN = lse,
                                          .q_TNH = q,
                                          .k_TMH = k,
                                          .v_TMH = v,
                                          .document_start_T = mask,
                                          .sequence_length = s.length,
                                          .scale = scale});
         // Backward reads the reference's output, so that its own error is measured alone.
         Owned ref_out(result, dtype), ref_lse({tokens, s.heads}, DType::kF32);
         reference_table().attention_forward(stream, {.out_TNH = ref_out,
                                                      .lse_TN = ref_lse,
                                                      .q_TNH = q,
                                                      .k_TMH = k,
                                                      .v_TMH = v,
                                                      .document_start_T = mask,
                                                      .sequence_length = s.length,
                                                      .scale = scale});
         Owned dq(query, dtype), dk(key, dtype), dv(value, dtype);
         table.attention_backward_input(stream, {.dq_TNH = dq,
                                                 .dk_TMH = dk,
                                                 .dv_TMH = dv,
                                                 .dout_TNH = dout,
                                                 .q_TNH = q,
                                                 .k_TMH = k,
                                                 .v_TMH = v,
                                                 .out_TNH = ref_out,
                                                 .lse_TN = ref_lse,
                                                 .document_start_T = mask,
                                                 .sequence_length = s.length,
                                                 .scale = scale});
         return outputs(std::move(out), std::move(lse), std::move(dq), std::move(dk),
                        std::move(dv));
       },
       attention_tolerance(dtype, s.length * s.heads, s.heads / s.kv_heads, s.head_dim)});
}

}  // namespace

void add_attention_cases(std::vector<OpCase>& cases, DType dtype) {
  for (const AttentionSize size :
       {AttentionSize{1, 1, 1, 1, 1, false}, AttentionSize{2, 5, 4, 2, 8, false},
        AttentionSize{1, 33, 2, 1, 17, false}, AttentionSize{2, 70, 3, 3, 16, true},
        AttentionSize{1, 150, 4, 2, 20, true}, AttentionSize{0, 8, 2, 2, 4, false},
        AttentionSize{1, 70, 2, 1, 64, true}, AttentionSize{1, 66, 2, 1, 128, false},
        AttentionSize{2, 100, 2, 1, 64, false}, AttentionSize{1, 150, 2, 1, 128, false},
        AttentionSize{1, 40, 1, 1, 192, true}, AttentionSize{1, 40, 2, 1, 256, true},
        AttentionSize{2, 37, 4, 2, 24, true, 11}, AttentionSize{1, 70, 2, 1, 12, false, 50},
        AttentionSize{1, 70, 2, 1, 192, true, 128}, AttentionSize{1, 40, 2, 1, 64, false, 136}}) {
    add_attention(cases, size, dtype);
  }
}

}  // namespace frugal::test
