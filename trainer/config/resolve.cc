// What spans keys: defaults that follow from others, and sizes that must fit each other.
#include <algorithm>
#include <bit>
#include <initializer_list>
#include <limits>
#include <numeric>
#include <utility>

#include "trainer/config/config.h"
#include "trainer/config/problems.h"
#include "trainer/config/schema.h"

namespace frugal {
namespace config {
namespace {

std::string text_of(std::int64_t number) {
  return std::to_string(number);
}

bool is_power_of_two(std::int64_t n) {
  return n > 0 && std::has_single_bit(static_cast<std::uint64_t>(n));
}

// The multiples of `unit` below and above a number: "8 or 16".
std::string neighbours(std::int64_t number, std::int64_t unit) {
  const std::int64_t below = number / unit * unit;
  return (below > 0 ? text_of(below) + " or " : "") + text_of(below + unit);
}

// "pipeline 2 x tensor 2 = 4"; the number alone where all factors are 1.
std::string product_text(std::initializer_list<std::pair<const char*, std::int64_t>> factors) {
  std::string out;
  std::int64_t product = 1;
  int count = 0;
  for (const auto& [name, factor] : factors) {
    product *= factor;
    if (factor == 1) continue;
    out += (out.empty() ? "" : " x ") + std::string(name) + " " + text_of(factor);
    ++count;
  }
  if (count == 1) return out;
  return count == 0 ? text_of(product) : out + " = " + text_of(product);
}

std::string ranks_text(std::int64_t ranks) {
  return text_of(ranks) + (ranks == 1 ? " rank" : " ranks");
}

class Resolver {
 public:
  Resolver(Config& config, int world_size) : c_(config), world_(world_size) {}

  void run() {
    layout();
    model();
    lora();
    tensor();
    batch();
    schedule();
    lanes();
    precision();
    learning_rate();
    reports();
    problems_.throw_if_any();
  }

 private:
  // At the first of the keys that the user wrote; without a place where there is none.
  void complain(std::initializer_list<std::string_view> keys, const std::string& message) {
    KeyOrigin at;
    for (const auto key : keys) {
      const auto origin = c_.origins.find(key);
      if (origin == c_.origins.end()) continue;
      at = origin->second;
      break;
    }
    problems_.add(at, message);
  }

  void multiple(std::string_view key, std::int64_t value, std::string_view of, std::int64_t unit) {
    if (value % unit == 0) return;
    complain({key, of}, std::string(key) + " " + text_of(value) + " is not a multiple of " +
                            std::string(of) + " " + text_of(unit) +
                            "; nearest: " + neighbours(value, unit));
  }

  void layout() {
    ParallelismConfig& p = c_.parallelism;
    for (const auto& [name, size] :
         {std::pair("context", &p.context), std::pair("expert", &p.expert)}) {
      if (*size == 1) continue;
      const std::string key = std::string("parallelism.") + name;
      complain({key}, key + " " + text_of(*size) + " is not supported yet; set it to 1");
    }
    // Products of what is supported; at most 2^16 each.
    const std::int64_t replica = std::int64_t{p.pipeline} * p.tensor;
    if (!p.data) {
      if (world_ % replica != 0) {
        complain({"parallelism.pipeline", "parallelism.tensor"},
                 "one replica takes " +
                     product_text({{"pipeline", p.pipeline}, {"tensor", p.tensor}}) +
                     " ranks, but the run has " + ranks_text(world_) + "; start " +
                     neighbours(world_, replica));
      }
      p.data = static_cast<int>(std::max<std::int64_t>(world_ / replica, 1));
      return;
    }
    const std::int64_t needed = replica * *p.data;
    if (needed == world_) return;
    std::string advice = "; start " + text_of(needed);
    if (world_ % replica == 0) {
      advice += ", or set parallelism.data to auto or " + text_of(world_ / replica);
    }
    complain({"parallelism.data", "parallelism.pipeline", "parallelism.tensor"},
             "the layout needs " +
                 product_text({{"pipeline", p.pipeline}, {"data", *p.data}, {"tensor", p.tensor}}) +
                 (needed == 1 ? " rank" : " ranks") + ", but the run has " + ranks_text(world_) +
                 advice);
  }

  void model() {
    ModelConfig& m = c_.model;
    const bool gpt2 = m.model_type == "gpt2";
    if (m.intermediate_size == 0) {
      if (!gpt2) {
        complain({"model.intermediate_size", "model.model_type"},
                 "model.intermediate_size must be set for " + m.model_type +
                     "; usual is 8/3 of hidden_size, rounded up to a multiple of 64");
      }
      m.intermediate_size = 4 * m.hidden_size;
    }
    if (m.num_key_value_heads == 0) m.num_key_value_heads = m.num_attention_heads;
    multiple("model.num_attention_heads", m.num_attention_heads, "model.num_key_value_heads",
             m.num_key_value_heads);
    if (m.head_dim == 0 && m.model_type == "qwen3") m.head_dim = 128;
    if (m.head_dim == 0) {
      multiple("model.hidden_size", m.hidden_size, "model.num_attention_heads",
               m.num_attention_heads);
      m.head_dim = std::max(m.hidden_size / m.num_attention_heads, 1);
    }
    if (gpt2 && (m.num_key_value_heads != m.num_attention_heads ||
                 std::int64_t{m.head_dim} * m.num_attention_heads != m.hidden_size)) {
      complain(
          {"model.num_key_value_heads", "model.head_dim", "model.model_type"},
          "gpt2 has as many key and value heads as query heads, together as wide as the model; "
          "remove num_key_value_heads and head_dim");
    }
    if (!gpt2 && m.head_dim % 2 != 0) {
      complain({"model.head_dim", "model.hidden_size"},
               "model.head_dim " + text_of(m.head_dim) +
                   " is odd: rotary positions turn pairs; use an even one");
    }
    rope();
    if (c_.data.sequence_length > m.max_position_embeddings) {
      complain({"data.sequence_length", "model.max_position_embeddings"},
               "data.sequence_length " + text_of(c_.data.sequence_length) +
                   " is longer than model.max_position_embeddings " +
                   text_of(m.max_position_embeddings) + "; raise that or shorten the sequence");
    }
    if (!m.vocab_size && c_.tokenizer.path.empty()) {
      complain({"model.vocab_size"},
               "model.vocab_size auto is the tokenizer's: set tokenizer.path or write a number");
    }
  }

  void rope() {
    const ModelConfig& m = c_.model;
    if (m.rope_type == "default" && m.rope_factor != 1.0) {
      complain({"model.rope_factor", "model.rope_type"},
               "model.rope_factor has no effect with model.rope_type default; choose linear or "
               "llama3, or remove it");
    }
    if (m.rope_type == "llama3" && m.rope_high_freq_factor <= m.rope_low_freq_factor) {
      complain({"model.rope_high_freq_factor", "model.rope_low_freq_factor"},
               "model.rope_high_freq_factor must be above model.rope_low_freq_factor");
    }
  }

  void lora() {
    LoraConfig& l = c_.lora;
    order_targets(l.targets);
    if (l.rank == 0) {
      if (l.init_from.empty()) return;
      return complain({"lora.init_from"}, "lora.init_from is set, but lora.rank is 0; remove one");
    }
    if (l.targets.empty()) {
      complain({"lora.targets", "lora.rank"},
               "lora.targets is empty: nothing would be trained; name a linear map");
    }
    for (auto it = l.targets.begin(); it != l.targets.end(); ++it) {
      if (std::find(l.targets.begin(), it, *it) != it) {
        complain({"lora.targets"}, "lora.targets names " + *it + " twice");
      }
      if (*it == "gate_proj" && c_.model.model_type == "gpt2") {
        complain({"lora.targets"}, "lora.targets names gate_proj, but gpt2 has no gate");
      }
    }
  }

  // What tensor-parallel ranks divide among them.
  void tensor() {
    const ModelConfig& m = c_.model;
    const int t = c_.parallelism.tensor;
    constexpr std::string_view kTensor = "parallelism.tensor";
    multiple("model.num_attention_heads", m.num_attention_heads, kTensor, t);
    // Fewer key and value heads than ranks: each is held by as many ranks as need it.
    if (t % std::max(m.num_key_value_heads, 1) != 0) {
      multiple("model.num_key_value_heads", m.num_key_value_heads, kTensor, t);
    }
    multiple("model.intermediate_size", m.intermediate_size, kTensor, t);
    const std::int64_t tokens = std::int64_t{c_.batch.micro_batch_size} * c_.data.sequence_length;
    if (tokens % t != 0) {
      complain({"data.sequence_length", "batch.micro_batch_size", kTensor},
               "the tokens of a micro-batch, micro_batch_size " +
                   text_of(c_.batch.micro_batch_size) + " x sequence_length " +
                   text_of(c_.data.sequence_length) + " = " + text_of(tokens) +
                   ", are not a multiple of parallelism.tensor " + text_of(t));
    }
  }

  void batch() {
    const BatchConfig& b = c_.batch;
    const std::int64_t unit = std::int64_t{b.micro_batch_size} * *c_.parallelism.data;
    if (b.global_batch_size % unit != 0) {
      complain({"batch.global_batch_size", "batch.micro_batch_size", "parallelism.data"},
               "batch.global_batch_size " + text_of(b.global_batch_size) +
                   " is not a multiple of micro_batch_size " + text_of(b.micro_batch_size) +
                   " x data-parallel size " + text_of(*c_.parallelism.data) + " = " +
                   text_of(unit) + "; nearest: " + neighbours(b.global_batch_size, unit));
    } else {
      microbatches_ = b.global_batch_size / unit;
    }
    const std::int64_t tokens = std::int64_t{b.global_batch_size} * c_.data.sequence_length;
    if (tokens > std::numeric_limits<std::int32_t>::max()) {
      complain(
          {"batch.global_batch_size", "data.sequence_length"},
          "one update would have " + text_of(tokens) +
              " tokens, at most 2147483647 are possible; use a smaller batch.global_batch_size");
    }
  }

  void schedule() {
    const ParallelismConfig& p = c_.parallelism;
    const bool interleaved = p.schedule == "interleaved_1f1b";
    if (interleaved && p.stages_per_rank < 2) {
      complain(
          {"parallelism.stages_per_rank", "parallelism.schedule"},
          "parallelism.schedule interleaved_1f1b needs parallelism.stages_per_rank of at least 2");
    }
    if (!interleaved && p.stages_per_rank != 1) {
      complain({"parallelism.stages_per_rank", "parallelism.schedule"},
               "parallelism.schedule " + p.schedule + " has one stage on each rank: set " +
                   "stages_per_rank to 1 or the schedule to interleaved_1f1b");
    }
    if (interleaved && microbatches_ % p.pipeline != 0) {
      complain({"parallelism.schedule", "batch.global_batch_size"},
               "interleaved_1f1b needs a multiple of parallelism.pipeline " + text_of(p.pipeline) +
                   " micro-batches, but global_batch_size / (micro_batch_size x data-parallel "
                   "size) is " +
                   text_of(microbatches_) + "; nearest: " + neighbours(microbatches_, p.pipeline));
    }
    stages(std::int64_t{p.pipeline} * p.stages_per_rank);
  }

  void stages(std::int64_t stages) {
    const ParallelismConfig& p = c_.parallelism;
    const int layers = c_.model.num_hidden_layers;
    const std::string count =
        product_text({{"pipeline", p.pipeline}, {"stages_per_rank", p.stages_per_rank}}) +
        (stages == 1 ? " stage" : " stages");
    if (p.stage_layers.empty()) {
      const std::int64_t parts = 2 * std::int64_t{layers} + 2;
      if (stages > parts) {
        complain({"parallelism.pipeline", "parallelism.stages_per_rank", "model.num_hidden_layers"},
                 count + " cannot all get work: a model of " + text_of(layers) +
                     " layers divides into at most " + text_of(parts) + " parts");
      }
      return;
    }
    constexpr std::string_view kKey = "parallelism.stage_layers";
    if (static_cast<std::int64_t>(p.stage_layers.size()) != stages) {
      complain({kKey}, std::string(kKey) + " has " + text_of(std::ssize(p.stage_layers)) +
                           " entries, but the layout has " + count);
    }
    const auto sum = std::accumulate(p.stage_layers.begin(), p.stage_layers.end(), std::int64_t{0});
    if (sum != layers) {
      complain({kKey}, std::string(kKey) + " adds up to " + text_of(sum) +
                           ", but model.num_hidden_layers is " + text_of(layers));
    }
    if (p.stage_layers.size() > 2 && std::find(p.stage_layers.begin() + 1, p.stage_layers.end() - 1,
                                               0) != p.stage_layers.end() - 1) {
      complain({kKey}, std::string(kKey) + ": only the first stage (with the embedding) and the " +
                           "last (with the head) may have no layers");
    }
  }

  // Every data-parallel rank sums whole lanes, a power of two of them, each of whole micro-batches.
  void lanes() {
    const std::int64_t data = *c_.parallelism.data;
    std::optional<int>& lanes = c_.train.lanes;
    const bool given = lanes.has_value();
    if (!given) lanes = static_cast<int>(data);
    const std::string is = "train.lanes " + text_of(*lanes);
    if (c_.train.determinism == "ordered" && !is_power_of_two(*lanes)) {
      complain({"train.lanes", "train.determinism", "parallelism.data"},
               "train.determinism ordered needs a power of two of train.lanes, but " +
                   (given ? "there are " + text_of(*lanes)
                          : "auto gives the data-parallel size " + text_of(data)));
      return;
    }
    if (*lanes % data != 0 || !is_power_of_two(*lanes / data)) {
      complain({"train.lanes", "parallelism.data"},
               is + " does not fit data-parallel size " + text_of(data) +
                   ": it must be that size times a power of two");
      return;
    }
    const std::int64_t own = *lanes / data;
    if (microbatches_ % own == 0) return;
    complain({"train.lanes", "batch.global_batch_size"},
             is + " does not divide the " + text_of(microbatches_ * data) +
                 " micro-batches of an update (global_batch_size / micro_batch_size)");
  }

  void precision() {
    if (!c_.precision.master && c_.precision.compute != "bf16") {
      complain({"precision.master", "precision.compute"},
               "precision.master false needs precision.compute bf16: fp32 weights are their own "
               "master, and fp16 has too few numbers near 0 to do without");
    }
    const int scale = c_.precision.initial_loss_scale;
    if (is_power_of_two(scale)) return;
    const auto below = std::bit_floor(static_cast<unsigned>(scale));
    complain({"precision.initial_loss_scale"},
             "precision.initial_loss_scale " + text_of(scale) +
                 " is not a power of two; nearest: " + text_of(below) + " or " +
                 text_of(2 * std::int64_t{below}));
  }

  void learning_rate() {
    SchedulerConfig& s = c_.scheduler;
    const int steps = c_.train.steps;
    const int falling = std::max(steps - s.warmup_steps, 0);
    if (!s.decay_steps) {
      s.decay_steps = s.name == "wsd"        ? std::min(steps / 10, falling)
                      : s.name == "constant" ? 0
                                             : falling;
    }
    if (s.name == "wsd" && *s.decay_steps > falling) {
      complain({"scheduler.decay_steps", "scheduler.warmup_steps"},
               "scheduler.warmup_steps " + text_of(s.warmup_steps) + " and decay_steps " +
                   text_of(*s.decay_steps) + " are together more than train.steps " +
                   text_of(steps));
    }
    if (s.min_lr > c_.optimizer.learning_rate) {
      complain({"scheduler.min_lr", "optimizer.learning_rate"},
               "scheduler.min_lr is above optimizer.learning_rate: the rate would rise at the end");
    }
  }

  void reports() {
    const CheckpointConfig& saved = c_.checkpoint;
    if (saved.interval > 0 && saved.keep_every > 0) {
      multiple("checkpoint.keep_every", saved.keep_every, "checkpoint.interval", saved.interval);
    }
    if (c_.eval.interval > 0 && c_.data.validation.empty()) {
      complain({"eval.interval"},
               "eval.interval is set, but data.validation is empty; name a source or set it to 0");
    }
    if (!c_.eval.questions.empty() && c_.eval.interval == 0) {
      complain({"eval.questions", "eval.interval"},
               "eval.questions is set, but eval.interval is 0: they would never be asked; set it");
    }
    constexpr int kWidestHead = 256;  // kWidestCachedHead of kernels/ops/cache.h
    if ((c_.sample.interval > 0 || !c_.eval.questions.empty()) && c_.model.head_dim > kWidestHead) {
      complain({"model.head_dim", "sample.interval", "eval.questions"},
               "model.head_dim " + text_of(c_.model.head_dim) + " is above " +
                   text_of(kWidestHead) +
                   ", the most that texts can be generated with; leave out sample.interval and "
                   "eval.questions");
    }
    if (c_.sample.interval > 0 && c_.sample.prompts.empty()) {
      complain(
          {"sample.interval"},
          "sample.interval is set, but sample.prompts is empty; write a prompt or set it to 0");
    }
    if (c_.sample.interval > 0 && c_.tokenizer.path.empty()) {
      complain({"sample.interval"},
               "sample.interval is set, but tokenizer.path is not: samples are text");
    }
  }

  Config& c_;
  std::int64_t world_;
  Problems problems_;
  std::int64_t microbatches_ = 0;  // of one pipeline in one update; 0: unknown, divides by all
};

}  // namespace
}  // namespace config

void resolve_config(Config& config, int world_size) {
  config::Resolver(config, world_size).run();
}

}  // namespace frugal
