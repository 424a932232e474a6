#include "tests/equivalence/tiny_training.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iomanip>
#include <mutex>
#include <stdexcept>

#include "comm/device_world.h"
#include "comm/world.h"
#include "kernels/core/rng.h"
#include "kernels/core/threads.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/op_table.h"
#include "trainer/checkpoint/box.h"
#include "trainer/engine/checkpointing.h"

namespace frugal::test {
namespace {

constexpr float kLearningRate = 3e-3F;

void place(std::map<std::string, Words>& tensors, const TensorSlice& slice) {
  Words& words = tensors[slice.name];
  words.resize(static_cast<std::size_t>(slice.global.numel()), kElsewhere);
  const std::size_t size = size_of(slice.local.dtype);
  for_each_common_run(
      {slice.offset, slice.local.shape}, {{}, slice.global},
      [&](std::int64_t from, std::int64_t to, std::int64_t count) {
        for (std::int64_t i = 0; i < count; ++i) {
          std::uint32_t word = 0;
          std::memcpy(&word, slice.local.data + static_cast<std::size_t>(from + i) * size, size);
          words[static_cast<std::size_t>(to + i)] = word;
        }
      });
}

// What lies in a tensor of the model's device.
std::vector<std::byte> bytes_of(const RankModel& model, const Tensor& tensor) {
  std::vector<std::byte> out(tensor.bytes());
  ops::copy(model.compute(), {out.data(), tensor.shape, tensor.dtype, {}}, tensor);
  model.compute().synchronize();
  return out;
}

// The first element that both hold with different bits; -1 if none.
std::int64_t first_conflict(const Words& a, const Words& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i] && a[i] != kElsewhere && b[i] != kElsewhere) {
      return static_cast<std::int64_t>(i);
    }
  }
  return -1;
}

// Evaluation and generation between training steps, which must not notice.
std::vector<float> infer(RankModel& model) {
  std::vector<float> out{model.evaluate(tiny_batches(model.config(), -1)).loss};
  // A prompt, then tokens one by one, of a second sequence too.
  using Feed = InferenceModel::Feed;
  const std::vector<std::int32_t> first{3, 1, 4}, second{2, 7}, next{5};
  const auto extend = [&](const std::vector<Feed>& feeds) {
    const auto logits = model.inference().extend(feeds);
    out.insert(out.end(), logits.begin(), logits.end());
  };
  extend({{.sequence = 0, .begin = 0, .tokens = first}});
  extend({{.sequence = 1, .begin = 0, .tokens = second}});
  extend(
      {{.sequence = 0, .begin = 3, .tokens = next}, {.sequence = 1, .begin = 2, .tokens = next}});
  return out;
}

void merge(Outcome& whole, const Outcome& own) {
  const std::string differs = difference(whole, own);
  if (!differs.empty()) throw std::runtime_error("ranks differ: " + differs);
  for (const auto& [name, words] : own.tensors) {
    Words& into = whole.tensors.emplace(name, words).first->second;
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (into[i] == kElsewhere) into[i] = words[i];
    }
  }
}

}  // namespace

Config tiny_config(const std::string& name, const std::string& precision) {
  const std::string family = name.substr(0, name.find('_'));
  Config config;
  if (name != family) {
    config.lora.rank = 5;
    config.lora.alpha = 8.0;
    config.lora.targets = {"v_proj", "o_proj", "up_proj", "down_proj"};
    if (family == "llama") config.lora.targets.emplace_back("q_proj");
  }
  config.model.model_type = family;
  config.model.hidden_size = 32;
  config.model.intermediate_size = 136;
  config.model.num_hidden_layers = kLayers;
  config.model.num_attention_heads = 4;
  config.model.num_key_value_heads = family == "gpt2" ? 4 : 2;
  config.model.head_dim = 8;
  config.model.vocab_size = kVocab;
  config.model.max_position_embeddings = 16;
  config.model.tie_word_embeddings = family == "gpt2";
  config.data.sequence_length = 8;
  config.data.document_mask = true;
  config.batch = {.micro_batch_size = 1, .global_batch_size = 24};
  config.precision.compute = precision.substr(0, precision.find('_'));
  config.precision.master = precision != "bf16_lean";
  config.precision.optimizer_state = precision.find('_') == std::string::npos ? "fp32" : "bf16";
  config.precision.initial_loss_scale = 1 << 24;
  config.precision.loss_scale_window = 3;
  config.eval.batches = 5;         // no data-parallel size but 1 divides them
  config.tokenizer.path = "none";  // samples are of tokens here
  config.sample = {.interval = 1, .prompts = {"abc", "ab"}, .max_new_tokens = 8};
  config.train.steps = kSteps;
  config.train.determinism = "ordered";
  config.train.lanes = 8;
  return config;
}

Config with_layout(Config config, const Layout& l) {
  config.parallelism.data = l.data;
  config.parallelism.pipeline = l.pipeline;
  config.parallelism.tensor = l.tensor;
  config.parallelism.schedule = l.schedule;
  config.parallelism.stages_per_rank = l.schedule == "interleaved_1f1b" ? 2 : 1;
  config.parallelism.zero_stage = l.zero_stage;
  config.parallelism.stage_layers = l.stage_layers;
  config.memory.recompute = l.recompute ? "full" : "none";
  resolve_config(config, l.ranks());
  return config;
}

BatchSource tiny_batches(const Config& config, std::int64_t step) {
  const auto rows = static_cast<std::uint64_t>(config.batch.micro_batch_size);
  const auto length = static_cast<std::uint64_t>(config.data.sequence_length);
  return [=, inputs = std::vector<std::int32_t>(), targets = std::vector<std::int32_t>(),
          documents = std::vector<std::int32_t>()](int index) mutable {
    inputs.clear(), targets.clear(), documents.clear();
    for (std::uint64_t row = 0; row < rows; ++row) {
      const std::uint64_t sequence = static_cast<std::uint64_t>(index) * rows + row;
      const auto whole = philox4x32(static_cast<std::uint64_t>(step), sequence, length);
      const std::uint64_t cut = 1 + whole[0] % (length - 1);
      for (std::uint64_t t = 0; t < length; ++t) {
        const auto words = philox4x32(static_cast<std::uint64_t>(step), sequence, t);
        const bool ignored = words[1] % 5 == 0 || whole[1] % 8 == 0;
        inputs.push_back(static_cast<std::int32_t>(words[0] % kVocab));
        // To be learned: a function of the input, half of the time.
        const std::uint32_t word = words[3] % 2 == 0 ? words[0] % kVocab * 7 + 3 : words[2];
        targets.push_back(ignored ? -1 : static_cast<std::int32_t>(word % kVocab));
        documents.push_back(static_cast<std::int32_t>(t < cut ? 0 : cut));
      }
    }
    return HostMicrobatch{inputs, targets, documents};
  };
}

std::map<std::string, Words> tensors_of(const RankModel& model) {
  std::map<std::string, Words> out;
  for (TensorRun& run : model.state_runs(false)) {
    auto bytes = bytes_of(model, run.local);
    run.local = {bytes.data(), run.local.shape, run.local.dtype, {}};
    for (const TensorSlice& slice : slices_of_run(run)) place(out, slice);
  }
  const ParamStore& params = model.params();
  for (ParamId id = 0; id < params.size(); ++id) {
    const ParamSpec& spec = params.entry(id).spec;
    if (spec.valid.numel() == 0) continue;
    const Tensor weight = params.weight(id).slice(0, spec.valid[0]);
    auto bytes = bytes_of(model, weight);
    place(out, {.name = "weight/" + spec.name,
                .global = spec.global,
                .offset = spec.offset,
                .local = {bytes.data(), weight.shape, weight.dtype, {}}});
  }
  return out;
}

Outcome train_rank(const Config& config, std::unique_ptr<ProcessGroup> world, const Leg& leg) {
  const auto& p = config.parallelism;
  set_compute_threads(1);
  Device device = leg.device;
  if (!on_host(device)) {
    device.index = static_cast<std::int8_t>((device.index + world->rank()) % cu::device_count());
  }
  DeviceMesh mesh(make_device_world(std::move(world), device).group,
                  {.pipeline = p.pipeline, .data = *p.data, .tensor = p.tensor});
  RankModel model(config, mesh, device, leg.compute);
  Progress progress;
  if (leg.resume_from.empty() || config.lora.rank > 0) model.initialize(7);
  if (leg.resume_from.empty()) {
    progress.loss_scale = first_loss_scale(config.precision);
  } else {
    progress = load_checkpoint(CheckpointReader(leg.resume_from), model);
  }
  Outcome out;
  out.first_step = static_cast<int>(progress.step) + 1;
  while (progress.step < leg.until) {
    const BatchSource batches = tiny_batches(config, progress.step);
    const float scale = progress.loss_scale.value;
    const std::int64_t update = ++progress.step - progress.skipped;
    const StepResult result = model.train_step(update, kLearningRate, scale, batches);
    progress.tokens += result.target_tokens;
    progress.settle(result.skipped, config.precision);
    out.scales.push_back(scale);
    out.losses.push_back(result.loss);
    out.norms.push_back(result.grad_norm);
    if (progress.step % 7 == 0) out.inference[progress.step] = infer(model);
  }
  out.tensors = tensors_of(model);
  std::string error;
  if (!leg.save_under.empty() &&
      !save_checkpoint({.root = leg.save_under, .run_id = "tiny", .digests = {}}, model, progress,
                       mesh.world(), error)) {
    throw std::runtime_error("not saved: " + error);
  }
  return out;
}

Outcome train(const Config& config, const Leg& leg) {
  Outcome whole;
  std::mutex mutex;
  const auto& p = config.parallelism;
  run_ranks_as_threads(*p.data * p.pipeline * p.tensor, [&](std::unique_ptr<ProcessGroup> world) {
    const Outcome own = train_rank(config, std::move(world), leg);
    const std::lock_guard lock(mutex);
    if (whole.tensors.empty()) whole = own;
    merge(whole, own);
  });
  for (const auto& [name, words] : whole.tensors) {
    if (std::ranges::count(words, kElsewhere) > 0) {
      throw std::runtime_error("no rank holds all of " + name);
    }
  }
  return whole;
}

std::string difference(const Outcome& expected, const Outcome& actual) {
  const auto skipped = static_cast<std::size_t>(actual.first_step - expected.first_step);
  if (actual.losses.size() + skipped != expected.losses.size()) return "numbers of steps";
  for (std::size_t i = 0; i < actual.losses.size(); ++i) {
    const auto differs = [&](const char* what, float want, float got) {
      return std::bit_cast<std::uint32_t>(want) == std::bit_cast<std::uint32_t>(got)
                 ? std::string()
                 : concat(std::setprecision(9), what, " of step ",
                          static_cast<std::size_t>(actual.first_step) + i, ": ", got,
                          " instead of ", want);
    };
    std::string text = differs("loss", expected.losses[i + skipped], actual.losses[i]);
    if (text.empty()) text = differs("norm", expected.norms[i + skipped], actual.norms[i]);
    if (text.empty()) text = differs("scale", expected.scales[i + skipped], actual.scales[i]);
    if (!text.empty()) return text;
  }
  for (const auto& [step, numbers] : actual.inference) {
    if (expected.inference.at(step) != numbers) return concat("inference after step ", step);
  }
  for (const auto& [name, words] : actual.tensors) {
    const auto found = expected.tensors.find(name);
    if (found == expected.tensors.end()) continue;
    if (words.size() != found->second.size()) return "size of " + name;
    const std::int64_t at = first_conflict(found->second, words);
    if (at >= 0) return concat("element ", at, " of ", name);
  }
  return "";
}

}  // namespace frugal::test
