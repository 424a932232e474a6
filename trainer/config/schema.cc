#include "trainer/config/schema.h"

#include <algorithm>
#include <array>

#define FRUGAL_KEY(member) [](Config& c) -> Value { return &c.member; }

namespace frugal::config {
namespace {

// Largest values: far beyond any run, small enough for 64-bit products.
constexpr double kSize = 1 << 20;  // widths, lengths, counts of sequences
constexpr double kSteps = 1'000'000'000;
constexpr double kRanks = 1 << 16;

Limits from(double min, double max) {
  return {.min = min, .max = max};
}
Limits above(double min) {
  return {.min = min, .above_min = true};
}
Limits above(double min, double max) {
  return {.min = min, .max = max, .above_min = true};
}
Limits share() {
  return {.min = 0, .max = 1, .below_max = true};
}
Limits one_of(std::vector<std::string_view> choices) {
  return {.choices = std::move(choices)};
}
Limits folder_name() {
  return {.folder_name = true};
}

const std::vector<Key> kKeys{
    {"run", "name", FRUGAL_KEY(run.name), folder_name(),
     "Name of the run; its folder is `dir/name`."},
    {"run", "dir", FRUGAL_KEY(run.dir), {}, "Where run folders are made."},

    {"", "device", FRUGAL_KEY(device), one_of({"auto", "cpu", "cuda"}),
     "What computes. auto: a GPU where the program and the machine have one."},
    {"",
     "seed",
     FRUGAL_KEY(seed),
     {.min = 0},
     "Of the weights, the order of the data and the samples."},

    {"model", "model_type", FRUGAL_KEY(model.model_type),
     one_of({"llama", "qwen2", "qwen3", "gpt2"}),
     "Family: llama (RMSNorm, rotary positions, SwiGLU), qwen2 (biases on queries, keys and "
     "values), qwen3 (normalised queries and keys) or gpt2 (LayerNorm, learned positions, GELU)."},
    {"model",
     "init_from",
     FRUGAL_KEY(model.init_from),
     {},
     "Folder of Hugging Face's (config.json, *.safetensors, tokenizer.json) or GGUF file: a new "
     "run "
     "begins with its weights and has its model; other keys of this section are not needed then. "
     "Empty: weights from the seed."},
    {"model", "hidden_size", FRUGAL_KEY(model.hidden_size), from(1, kSize), "Width of the model."},
    {"model", "intermediate_size", FRUGAL_KEY(model.intermediate_size), from(0, kSize),
     "Width inside the MLP. 0: four times hidden_size for gpt2; the others must set it."},
    {"model", "num_hidden_layers", FRUGAL_KEY(model.num_hidden_layers), from(1, 10000),
     "Transformer layers: attention and MLP each."},
    {"model", "num_attention_heads", FRUGAL_KEY(model.num_attention_heads), from(1, kRanks),
     "Query heads."},
    {"model", "num_key_value_heads", FRUGAL_KEY(model.num_key_value_heads), from(0, kRanks),
     "Key and value heads; a divisor of the query heads. 0: as many as those."},
    {"model", "head_dim", FRUGAL_KEY(model.head_dim), from(0, kRanks),
     "Width of a head. 0: 128 for qwen3, else hidden_size / num_attention_heads."},
    {"model", "vocab_size", FRUGAL_KEY(model.vocab_size), from(1, 1 << 22),
     "Token ids. auto: the tokenizer's."},
    {"model", "max_position_embeddings", FRUGAL_KEY(model.max_position_embeddings),
     from(1, 1 << 24), "Longest sequence of the model; gpt2 learns one vector for each position."},
    {"model", "rope_theta", FRUGAL_KEY(model.rope_theta), above(0),
     "Base of the rotary positions (not gpt2)."},
    {"model", "rope_type", FRUGAL_KEY(model.rope_type), one_of({"default", "linear", "llama3"}),
     "How rotary positions are stretched beyond the length of the first training. linear: all "
     "frequencies are divided by rope_factor; llama3: low ones are, high ones are not, and between "
     "them in part. In a config.json: rope_scaling or rope_parameters."},
    {"model", "rope_factor", FRUGAL_KEY(model.rope_factor), above(0, 1e6),
     "How many times as long (linear, llama3)."},
    {"model", "rope_low_freq_factor", FRUGAL_KEY(model.rope_low_freq_factor), above(0, 1e6),
     "llama3: frequencies that turn fewer times than this in the first length are low."},
    {"model", "rope_high_freq_factor", FRUGAL_KEY(model.rope_high_freq_factor), above(0, 1e6),
     "llama3: frequencies that turn more times than this in the first length are high."},
    {"model", "rope_original_max_position_embeddings",
     FRUGAL_KEY(model.rope_original_max_position_embeddings), from(1, 1 << 24),
     "llama3: the first length."},
    {"model", "rms_norm_eps", FRUGAL_KEY(model.rms_norm_eps), above(0, 1),
     "Added under the root of every norm (gpt2: layer_norm_epsilon)."},
    {"model", "initializer_range", FRUGAL_KEY(model.initializer_range), above(0, 10),
     "Standard deviation of new weights; output projections get it divided by sqrt(2 layers)."},
    {"model",
     "tie_word_embeddings",
     FRUGAL_KEY(model.tie_word_embeddings),
     {},
     "The output head shares the weights of the embedding. gpt2: true unless set."},
    {"model",
     "attention_bias",
     FRUGAL_KEY(model.attention_bias),
     {},
     "Biases on the four attention projections. gpt2 always has them, qwen2 on three of them."},
    {"model",
     "mlp_bias",
     FRUGAL_KEY(model.mlp_bias),
     {},
     "Biases on the MLP's projections. gpt2 always has them."},

    {"lora", "rank", FRUGAL_KEY(lora.rank), from(0, 1 << 14),
     "Rank of the adapters. 0: no adapters, everything is trained."},
    {"lora", "alpha", FRUGAL_KEY(lora.alpha), above(0, 1e6),
     "What an adapter adds is multiplied by alpha / rank."},
    {"lora", "targets", FRUGAL_KEY(lora.targets),
     one_of({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
     "Linear maps that get adapters, in every layer."},
    {"lora",
     "init_from",
     FRUGAL_KEY(lora.init_from),
     {},
     "Folder of PEFT's (adapter_config.json, adapter_model.safetensors): a new run begins with its "
     "adapters; other keys of this section are not needed then. Empty: new adapters."},

    {"tokenizer",
     "path",
     FRUGAL_KEY(tokenizer.path),
     {},
     "Folder with tokenizer.json; `frugal tokenizer train` makes one."},

    {"data",
     "train",
     FRUGAL_KEY(data.train),
     {},
     "Token folders (`frugal data build`) with weights: each sequence comes from one of them, "
     "chosen in proportion."},
    {"data", "validation", FRUGAL_KEY(data.validation), {}, "The same, for evaluation."},
    {"data", "sequence_length", FRUGAL_KEY(data.sequence_length), from(1, kSize),
     "Tokens of one training sequence."},
    {"data",
     "document_mask",
     FRUGAL_KEY(data.document_mask),
     {},
     "Attention stays inside a document where several share a sequence."},

    {"batch", "micro_batch_size", FRUGAL_KEY(batch.micro_batch_size), from(1, kSize),
     "Sequences that pass through the model at once on one rank."},
    {"batch", "global_batch_size", FRUGAL_KEY(batch.global_batch_size), from(1, 1 << 24),
     "Sequences of one update, over all ranks."},

    {"parallelism", "data", FRUGAL_KEY(parallelism.data), from(1, kRanks),
     "Replicas that share the batch. auto: ranks / (pipeline x context x tensor)."},
    {"parallelism", "pipeline", FRUGAL_KEY(parallelism.pipeline), from(1, kRanks),
     "Ranks that the layers are spread over."},
    {"parallelism", "context", FRUGAL_KEY(parallelism.context), from(1, kRanks),
     "Ranks that share a sequence. Only 1 for now."},
    {"parallelism", "tensor", FRUGAL_KEY(parallelism.tensor), from(1, kRanks),
     "Ranks that share every matrix; wants the fastest links."},
    {"parallelism", "expert", FRUGAL_KEY(parallelism.expert), from(1, kRanks),
     "Ranks that share experts. Only 1 for now."},
    {"parallelism", "schedule", FRUGAL_KEY(parallelism.schedule),
     one_of({"gpipe", "1f1b", "interleaved_1f1b", "zb_h1"}),
     "Order of the pipeline's work. interleaved_1f1b and zb_h1 idle less than 1f1b."},
    {"parallelism", "stages_per_rank", FRUGAL_KEY(parallelism.stages_per_rank), from(1, 10000),
     "Pipeline stages on each rank; at least 2 for interleaved_1f1b, 1 for all others."},
    {"parallelism", "stage_layers", FRUGAL_KEY(parallelism.stage_layers), from(0, 10000),
     "Layers of each stage, in order. Empty: divided so that the slowest stage is fastest."},
    {"parallelism", "zero_stage", FRUGAL_KEY(parallelism.zero_stage), from(0, 1),
     "1: each data-parallel rank keeps the optimizer state of its share only. 0: all keep all."},
    {"parallelism", "communication_timeout", FRUGAL_KEY(parallelism.communication_timeout),
     from(1, 86400),
     "Seconds after which a call of NCCL has lost a peer: longer than any rank ever waits for "
     "another, such as for the first "
     "micro-batch of all stages before it. The first call of a group has ten times as long."},

    {"precision", "compute", FRUGAL_KEY(precision.compute), one_of({"bf16", "fp16", "fp32"}),
     "Number format of weights and activations in the layers; weight gradients are float32 in all. "
     "fp16 is for GPUs without bf16 (T4, RTX 20xx) and scales the loss."},
    {"precision",
     "tf32",
     FRUGAL_KEY(precision.tf32),
     {},
     "fp32: rounds the factors of products to 10 bits of fraction on GPUs since Ampere, which "
     "multiply those several times as "
     "fast. Elsewhere it changes nothing."},
    {"precision",
     "master",
     FRUGAL_KEY(precision.master),
     {},
     "Float32 weights that the optimizer updates, beside those in 16 bits: 4 bytes a parameter. "
     "false, only for bf16: it updates those themselves, rounding up or down by chance."},
    {"precision", "optimizer_state", FRUGAL_KEY(precision.optimizer_state),
     one_of({"fp32", "bf16"}),
     "Number format of the optimizer's moments: 8 or 4 bytes a parameter. bf16 rounds up or down "
     "by chance."},
    {"precision", "initial_loss_scale", FRUGAL_KEY(precision.initial_loss_scale), from(1, 1 << 30),
     "fp16: what the loss's gradient is multiplied by at first, a power of two. An overflow skips "
     "the update and halves it; below 1 the run has diverged."},
    {"precision", "loss_scale_window", FRUGAL_KEY(precision.loss_scale_window), from(1, kSteps),
     "fp16: updates without overflow after which the loss scale doubles."},

    {"memory", "recompute", FRUGAL_KEY(memory.recompute), one_of({"none", "full"}),
     "full: keep only the input of each layer and compute it again in the backward pass."},

    {"optimizer", "name", FRUGAL_KEY(optimizer.name), one_of({"adamw"}), "The update rule."},
    {"optimizer", "learning_rate", FRUGAL_KEY(optimizer.learning_rate), above(0, 1000),
     "The highest rate, after warm-up."},
    {"optimizer", "beta1", FRUGAL_KEY(optimizer.beta1), share(), "Memory of the mean gradient."},
    {"optimizer", "beta2", FRUGAL_KEY(optimizer.beta2), share(), "Memory of the mean square."},
    {"optimizer", "eps", FRUGAL_KEY(optimizer.eps), above(0, 1),
     "Added to the root of the mean square."},
    {"optimizer", "weight_decay", FRUGAL_KEY(optimizer.weight_decay), from(0, 1000),
     "Times the learning rate; not on norms and biases."},
    {"optimizer", "grad_clip", FRUGAL_KEY(optimizer.grad_clip), from(0, 1e9),
     "Longer gradients are scaled to this global norm. 0: never."},

    {"scheduler", "name", FRUGAL_KEY(scheduler.name),
     one_of({"cosine", "linear", "wsd", "constant"}),
     "Course of the learning rate after warm-up; wsd stays high and falls at the end."},
    {"scheduler", "warmup_steps", FRUGAL_KEY(scheduler.warmup_steps), from(0, kSteps),
     "Updates in which the rate rises from 0."},
    {"scheduler", "decay_steps", FRUGAL_KEY(scheduler.decay_steps), from(0, kSteps),
     "Updates in which it falls. auto: to the last update; wsd: the last tenth."},
    {"scheduler", "min_lr", FRUGAL_KEY(scheduler.min_lr), from(0, 1000), "Where it ends."},

    {"train", "steps", FRUGAL_KEY(train.steps), from(1, kSteps), "Updates of the whole run."},
    {"train", "determinism", FRUGAL_KEY(train.determinism), one_of({"run", "ordered"}),
     "run: the same bits for the same layout. ordered: also across data-parallel sizes and "
     "pipeline splits."},
    {"train", "lanes", FRUGAL_KEY(train.lanes), from(1, kRanks),
     "Parts of the batch that are summed apart, then in one tree. auto: the data-parallel size. "
     "Set "
     "it (to a power of two) for runs that shall agree or resume across data-parallel sizes."},
    {"train", "max_skipped_updates", FRUGAL_KEY(train.max_skipped_updates), from(0, kSteps),
     "Updates in a row that may be skipped for a gradient that is not finite; one more stops the "
     "run. In fp16 the loss scale decides instead."},
    {"train", "threads", FRUGAL_KEY(train.threads), from(1, 4096),
     "Threads of one rank on the CPU. auto: cores of the host / its ranks."},
    {"train",
     "cuda_graph",
     FRUGAL_KEY(train.cuda_graph),
     {},
     "On one GPU: gives it the work of a step at one go. false: op by op, to the same bits."},

    {"checkpoint", "interval", FRUGAL_KEY(checkpoint.interval), from(0, kSteps),
     "Updates between checkpoints. 0: only at the end and on signals."},
    {"checkpoint", "keep_last", FRUGAL_KEY(checkpoint.keep_last), from(1, 1'000'000),
     "Newest checkpoints that are kept."},
    {"checkpoint", "keep_every", FRUGAL_KEY(checkpoint.keep_every), from(0, kSteps),
     "Checkpoints at multiples of this many updates are never removed. 0: none."},
    {"checkpoint",
     "resume",
     FRUGAL_KEY(checkpoint.resume),
     {},
     "auto: from the newest good checkpoint of the run, if there is one; never; or the folder of a "
     "checkpoint."},

    {"eval", "interval", FRUGAL_KEY(eval.interval), from(0, kSteps),
     "Updates between evaluations on data.validation. 0: never."},
    {"eval", "batches", FRUGAL_KEY(eval.batches), from(1, kSize),
     "Micro-batches of one evaluation."},
    {"eval",
     "questions",
     FRUGAL_KEY(eval.questions),
     {},
     "File of multiple-choice questions as for `frugal evaluate --choices`, answered at every "
     "evaluation. Empty: none."},

    {"sample", "interval", FRUGAL_KEY(sample.interval), from(0, kSteps),
     "Updates between texts that the model writes into samples/. 0: never."},
    {"sample", "prompts", FRUGAL_KEY(sample.prompts), {}, "What it continues."},
    {"sample", "max_new_tokens", FRUGAL_KEY(sample.max_new_tokens), from(1, kSize),
     "Length of a sample."},
    {"sample", "temperature", FRUGAL_KEY(sample.temperature), from(0, 100),
     "Below 1: safer, above: wilder. 0: always the most likely token."},
    {"sample", "top_k", FRUGAL_KEY(sample.top_k), from(0, 1 << 22),
     "Choose among this many most likely tokens. 0: all."},
    {"sample", "top_p", FRUGAL_KEY(sample.top_p), above(0, 1),
     "Choose among the most likely tokens that together have this probability."},

    {"logging", "interval", FRUGAL_KEY(logging.interval), from(1, kSteps),
     "Updates between console lines; metrics.jsonl has every update."},
    {"logging",
     "tensorboard",
     FRUGAL_KEY(logging.tensorboard),
     {},
     "Write TensorBoard events into tb/."},
};

const std::vector<SourceKey> kSourceKeys{
    {"",
     "path",
     [](DataSourceConfig& s) -> Value { return &s.path; },
     {},
     "Folder of token shards."},
    {"", "weight", [](DataSourceConfig& s) -> Value { return &s.weight; }, above(0, 1e9),
     "Share of the sequences, relative to the other sources."},
};

struct Section {
  std::string_view name, text;
};
constexpr std::array<Section, 16> kSections{{
    {"run", "What the run is called and where its files go."},
    {"model", "The network, in the names of Hugging Face's config.json."},
    {"lora",
     "LoRA: trains small adapters beside the weights of model.init_from, which stay as they are."},
    {"tokenizer", "How text becomes token ids."},
    {"data", "What is learned."},
    {"batch", "Sequences of one update."},
    {"parallelism",
     "How ranks share the work. The product of data, pipeline, context and tensor is "
     "the number of ranks."},
    {"precision", "Number formats."},
    {"memory", "Computing more to store less."},
    {"optimizer", "How gradients change weights."},
    {"scheduler", "How the learning rate changes in the course of the run."},
    {"train", "Length of the run and what it promises."},
    {"checkpoint", "What is saved and where a run begins."},
    {"eval", "The loss on data that is not learned."},
    {"sample", "Texts written in the course of training."},
    {"logging", "What is reported."},
}};
constexpr auto kSectionNames = [] {
  std::array<std::string_view, kSections.size()> out;
  std::ranges::transform(kSections, out.begin(), &Section::name);
  return out;
}();

}  // namespace

std::span<const Key> keys() {
  return kKeys;
}
std::span<const SourceKey> source_keys() {
  return kSourceKeys;
}
std::span<const std::string_view> sections() {
  return kSectionNames;
}

const Key* find_key(std::string_view section, std::string_view name) {
  const auto found = std::ranges::find_if(
      kKeys, [&](const Key& key) { return key.section == section && key.name == name; });
  return found == kKeys.end() ? nullptr : &*found;
}

std::string_view section_text(std::string_view section) {
  return std::ranges::find(kSections, section, &Section::name)->text;
}

}  // namespace frugal::config
