// Softmax cross-entropy of one chunk of tokens over one rank's part of the vocabulary, in pieces,
// so that the caller can reduce between them (max, then sums, over the ranks that share the
// vocabulary). Legend: C tokens of a chunk, V columns of this rank's part. Per-token statistics are
// f32 [C]. Deterministic: yes, the same bits for any number of threads.
#pragma once

#include <cstdint>

#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal {

struct CrossEntropyStatisticsArgs {
  Tensor max_C;           // written (=): largest logit of a valid column; -inf when there is none
  Tensor sum_exp_C;       // written (=): sum of exp(logit - max) over valid columns
  Tensor target_logit_C;  // written (=): the target's logit; 0 when ignored or not in this part
  ConstTensor logits_CV;  // f32, bf16 or f16
  ConstTensor targets_C;  // i32 token ids; -1 is ignored
  std::int64_t column_begin = 0;   // column v holds token id column_begin + v
  std::int64_t valid_columns = 0;  // so many columns exist (may be 0), the rest is padding
};

struct CrossEntropyLossArgs {
  Tensor loss_C;                                            // f32, written (=)
  ConstTensor max_C, sum_exp_C, target_logit_C, targets_C;  // over the whole vocabulary
};

struct CrossEntropyBackwardArgs {
  Tensor logits_CV;  // in: logits, out: their gradient, in place; padding columns become 0
  ConstTensor max_C, sum_exp_C;  // over the whole vocabulary
  ConstTensor targets_C;
  std::int64_t column_begin = 0;
  std::int64_t valid_columns = 0;
  float scale = 1.0F;  // gradient of the objective with respect to a token's loss
};

namespace ops {

void cross_entropy_statistics(Stream& stream, const CrossEntropyStatisticsArgs& args);

// sum_exp_C *= exp(local_max - global_max): puts a part's sum on the common maximum before the sums
// are added.
void cross_entropy_rescale(Stream& stream, Tensor sum_exp_C, ConstTensor local_max_C,
                           ConstTensor global_max_C);

// loss = max + log(sum_exp) - target_logit; 0 where the target is ignored.
void cross_entropy_loss(Stream& stream, const CrossEntropyLossArgs& args);

// logits = (softmax - onehot(target)) * scale; a row whose target is ignored becomes 0.
void cross_entropy_backward_input(Stream& stream, const CrossEntropyBackwardArgs& args);

}  // namespace ops
}  // namespace frugal
