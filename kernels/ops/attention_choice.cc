#include "kernels/ops/attention_choice.h"

#include "kernels/core/check.h"

namespace frugal {
namespace {

thread_local std::set<PlannedAttention>* collected = nullptr;

template <class Args>
PlannedAttention planned(const Args& args, bool backward) {
  const Shape& q = args.q_TNH.shape;
  return {.dtype = args.q_TNH.dtype,
          .tokens = q[0],
          .sequence_length = args.sequence_length,
          .heads = q[1],
          .kv_heads = args.k_TMH.shape[1],
          .dim = q[2],
          .value_dim = args.v_TMH.shape[2],
          .documents = given(args.document_start_T),
          .backward = backward,
          .scale = args.scale};
}

}  // namespace

PlannedAttention planned_of(const AttentionForwardArgs& args) {
  return planned(args, false);
}

PlannedAttention planned_of(const AttentionBackwardArgs& args) {
  return planned(args, true);
}

std::string text_of(const PlannedAttention& a) {
  return concat(name_of(a.dtype), ", ", a.tokens, " tokens in sequences of ", a.sequence_length,
                ", heads ", a.heads, "/", a.kv_heads, " dim ", a.dim,
                a.value_dim == a.dim ? "" : concat("/", a.value_dim),
                a.documents ? ", documents" : "", a.backward ? ", backward" : "");
}

AttentionCollector::AttentionCollector(std::set<PlannedAttention>& attentions) {
  FRUGAL_CHECK(collected == nullptr, "one collector at a time");
  collected = &attentions;
}

AttentionCollector::~AttentionCollector() {
  collected = nullptr;
}

void collect(const PlannedAttention& attention) {
  if (collected != nullptr) collected->insert(attention);
}

}  // namespace frugal
