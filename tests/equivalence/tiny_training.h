// A training so small that a thousand layouts can be compared, with everything in it that a layout
// can get wrong: an odd vocabulary (padded inside), parameters of more than one block (so ZeRO cuts
// inside them), document masks, ignored targets, whole micro-batches of them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "comm/process_group.h"
#include "kernels/core/stream.h"
#include "tests/equivalence/layouts.h"
#include "trainer/config/config.h"
#include "trainer/engine/rank_model.h"

namespace frugal::test {

inline constexpr int kSteps = 20;
inline constexpr int kVocab = 161;
inline constexpr int kLayers = 3;  // eight entries with embedding and head: up to eight stages

// family: llama or gpt2 (tied embeddings), llama_lora or gpt2_lora with adapters on some of their
// maps beside a base from the seed; precision: fp32, bf16 or fp16; also bf16_state, with the
// optimizer's state in bf16, and bf16_lean, also without master weights. Eight lanes.
// In fp16 the loss scale begins so high and doubles so soon that updates are skipped all along.
Config tiny_config(const std::string& family, const std::string& precision);
// The same run on a layout, resolved. Throws ConfigError where the layout does not exist.
Config with_layout(Config config, const Layout& layout);

// The training's micro-batch: sequences are numbered through the step, so their contents do not
// depend on micro_batch_size. step from 0.
BatchSource tiny_batches(const Config& config, std::int64_t step);

// A part of the training: from the initial weights or a checkpoint, up to and with step `until`.
struct Leg {
  std::string resume_from;  // a checkpoint folder
  int until = kSteps;
  std::string save_under;  // commits a checkpoint under this folder at the end
  Device device;           // of rank 0; the others take the next ones of the machine, in turn
  StreamMode compute = StreamMode::kInline;
};

// A global tensor, element by element: the bits of its value.
using Words = std::vector<std::uint32_t>;
inline constexpr std::uint32_t kElsewhere = 0xffffffff;  // on another rank (a NaN: never trained)

struct Outcome {
  int first_step = 1;
  std::vector<float> losses, norms, scales;  // of the steps from first_step
  // After every seventh step: the loss of an evaluation, then the logits after a short prompt.
  std::map<std::int64_t, std::vector<float>> inference;
  // "weight/P" in compute dtype, and the optimizer's "master/P", "exp_avg/P", "exp_avg_sq/P".
  std::map<std::string, Words> tensors;
};

// One rank's part: what this rank sees of the numbers, and holds of the tensors. Collective over
// the world, which must fit the layout.
Outcome train_rank(const Config& config, std::unique_ptr<ProcessGroup> world, const Leg& leg = {});

// The same on thread ranks, put together. Throws when two ranks differ in a number or in an element
// that both hold, or when nobody holds an element.
Outcome train(const Config& config, const Leg& leg = {});

// What the rank model holds now.
std::map<std::string, Words> tensors_of(const RankModel& model);

// "" when the numbers and all elements that `actual` holds have the bits of `expected`, which is
// whole and begins no later; otherwise the first difference in words.
std::string difference(const Outcome& expected, const Outcome& actual);

}  // namespace frugal::test
