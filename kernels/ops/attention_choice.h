// Which attention a run needs, and which implementation computes it: libraries differ in bits, so a
// run keeps what it began with.
#pragma once

#include <compare>
#include <cstdint>
#include <set>
#include <string>

#include "kernels/core/device.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/product.h"

namespace frugal {

// An attention as far as the choice of its implementation goes.
struct PlannedAttention {
  DType dtype = DType::kF32;
  std::int64_t tokens = 0, sequence_length = 0, heads = 0, kv_heads = 0;
  std::int64_t dim = 0, value_dim = 0;  // of q and k; of v and out
  bool documents = false, backward = false;
  float scale = 1.0F;
  auto operator<=>(const PlannedAttention&) const = default;  // NOLINT(modernize-use-nullptr)
};
PlannedAttention planned_of(const AttentionForwardArgs& args);
PlannedAttention planned_of(const AttentionBackwardArgs& args);
// "bf16, 4096 tokens in sequences of 1024, heads 8/2 dim 64, documents, backward": one line.
std::string text_of(const PlannedAttention& attention);

// While it lives, attention that the calling thread plans is put into `attentions`. One at a time
// on a thread.
class AttentionCollector {
 public:
  explicit AttentionCollector(std::set<PlannedAttention>& attentions);
  ~AttentionCollector();
  AttentionCollector(const AttentionCollector&) = delete;
  AttentionCollector& operator=(const AttentionCollector&) = delete;
};
// For ops::attention_*.
void collect(const PlannedAttention& attention);

namespace cu {
// From "device; attention; problem" to the implementation that will run, a library with its
// version. Blocks while libraries look for plans. Empty where no GPU can be used.
AlgorithmChoices attention_choices(Device device, const std::set<PlannedAttention>& attentions);
}  // namespace cu

}  // namespace frugal
