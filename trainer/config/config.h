// What a run is: plain structs with visible defaults, no behaviour, no globals. Sections and keys
// are those of the YAML file. An absent optional is `auto` (or, where said, "not set"). schema.cc
// describes every key once: type, range, choices, text; reading, checking and configs/README.md
// come from there.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace frugal {

struct RunConfig {
  std::string name = "run";
  std::string dir = "runs";  // the run folder is dir/name
};

// Hugging Face names, so that a config.json block can be pasted. For model_type gpt2 its own names
// (n_embd, n_layer, n_head, n_positions, n_inner, layer_norm_epsilon, activation_function) are read
// into the same fields; rope_scaling and rope_parameters into the rope_... fields.
struct ModelConfig {
  // A folder of Hugging Face's or a GGUF file whose weights a new run begins with and whose model
  // it is: adopt_model(). Empty: weights from the seed.
  std::string init_from;
  std::string model_type = "llama";  // llama | qwen2 | qwen3 | gpt2
  int hidden_size = 64;
  int intermediate_size = 0;  // 0: 4 * hidden_size for gpt2; llama must set it
  int num_hidden_layers = 2;
  int num_attention_heads = 4;
  int num_key_value_heads = 0;    // 0: num_attention_heads
  int head_dim = 0;               // 0: 128 for qwen3, else hidden_size / num_attention_heads
  std::optional<int> vocab_size;  // auto: from the tokenizer
  int max_position_embeddings = 1024;
  double rope_theta = 10000.0;  // not gpt2, nor are the next five
  // default | linear | llama3. linear: all frequencies divided by rope_factor; llama3: those of
  // wavelengths beyond rope_original_max_position_embeddings / rope_low_freq_factor, those below
  // the same / rope_high_freq_factor not, between them in part.
  std::string rope_type = "default";
  double rope_factor = 1.0;
  double rope_low_freq_factor = 1.0, rope_high_freq_factor = 4.0;
  int rope_original_max_position_embeddings = 8192;
  double rms_norm_eps = 1e-5;  // RMSNorm; gpt2: LayerNorm ("layer_norm_epsilon")
  double initializer_range = 0.02;
  bool tie_word_embeddings = false;  // gpt2: true unless set
  // Biases on q, k, v, o. gpt2 always has them, qwen2 always those on q, k, v alone.
  bool attention_bias = false;
  bool mlp_bias = false;  // on gate, up, down (llama); gpt2 always has them
};

// Adapters beside frozen linear maps: y += alpha / rank * (x A^T) B^T.
struct LoraConfig {
  int rank = 0;  // 0: everything is trained
  double alpha = 16.0;
  std::vector<std::string> targets{"q_proj", "k_proj", "v_proj", "o_proj"};
  // A folder of PEFT's whose adapters a new run begins with, and whose rank, alpha and targets it
  // has: adopt_adapter(). Empty: new ones, that change nothing at first.
  std::string init_from;
};

struct TokenizerConfig {
  std::string path;  // folder with tokenizer.json
};

struct DataSourceConfig {
  std::string path;  // folder of token shards
  double weight = 1.0;
};

struct DataConfig {
  std::vector<DataSourceConfig> train;
  std::vector<DataSourceConfig> validation;
  int sequence_length = 128;
  bool document_mask = false;  // attention stays inside a document
};

struct BatchConfig {  // in sequences
  int micro_batch_size = 1;
  int global_batch_size = 8;
};

struct ParallelismConfig {
  std::optional<int> data;  // auto: ranks / (pipeline * context * tensor)
  int pipeline = 1, context = 1, tensor = 1, expert = 1;
  std::string schedule = "1f1b";  // gpipe | 1f1b | interleaved_1f1b | zb_h1
  int stages_per_rank = 1;        // interleaved_1f1b: at least 2
  // Transformer layers in each stage, in order; empty: split by cost.
  std::vector<int> stage_layers;
  int zero_stage = 1;              // 0 | 1
  int communication_timeout = 20;  // seconds of one call of NCCL
};

struct PrecisionConfig {
  // bf16 | fp16 | fp32; float32 gradients in all.
  std::string compute = "bf16";
  bool tf32 = false;   // fp32: products of TensorFloat-32 where the device has them
  bool master = true;  // float32 master weights beside those in 16 bits
  std::string optimizer_state = "fp32";  // fp32 | bf16
  // fp16; the scale that the loss's gradient is multiplied by: at first, a power of two, and
  // updates without overflow after which it doubles. An overflow halves it.
  int initial_loss_scale = 65536;
  int loss_scale_window = 2000;
};

struct MemoryConfig {
  std::string recompute = "none";  // none | full
};

struct OptimizerConfig {
  std::string name = "adamw";
  double learning_rate = 1e-3;
  double beta1 = 0.9, beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;  // not on norms and biases
  double grad_clip = 1.0;     // largest global gradient norm; 0: no clipping
};

struct SchedulerConfig {
  std::string name = "cosine";  // cosine | linear | wsd | constant
  int warmup_steps = 0;
  std::optional<int> decay_steps;  // auto: to the last step; wsd: a tenth of the steps
  double min_lr = 0.0;
};

struct TrainConfig {
  int steps = 100;
  std::string determinism = "run";  // run (D1) | ordered (D2)
  // The data-parallel size times a power of two; for `ordered` itself a power of two. auto: the
  // data-parallel size.
  std::optional<int> lanes;
  int max_skipped_updates =
      10;  // in a row, for a non-finite gradient; one more stops the run (not fp16)
  // OpenMP threads per rank; auto: cores of this host / ranks of this host.
  std::optional<int> threads;
  bool cuda_graph = true;  // on one GPU: forward and backward of a step as one graph
};

struct CheckpointConfig {
  int interval = 100;  // steps; 0: only at the end and on signals
  int keep_last = 2;
  int keep_every = 0;           // steps; those are never removed; 0: none
  std::string resume = "auto";  // auto | never | a checkpoint folder
};

struct EvalConfig {
  int interval = 0;       // steps; 0: never
  int batches = 8;        // micro-batches of the validation data in one evaluation
  std::string questions;  // file of multiple-choice questions, answered then too; empty: none
};

struct SampleConfig {
  int interval = 0;  // steps; 0: never
  std::vector<std::string> prompts;
  int max_new_tokens = 64;
  double temperature = 0.8;
  int top_k = 0;  // 0: all
  double top_p = 1.0;
};

struct LoggingConfig {
  int interval = 1;  // steps between console lines; metrics.jsonl has every step
  bool tensorboard = true;
};

// Where a value was written, for messages: "configs/a.yaml:12:5" or "override 2", and the source
// line with a caret below.
struct KeyOrigin {
  std::string place, excerpt;
};

struct Config {
  RunConfig run;
  std::string device = "auto";  // cpu | cuda | auto
  std::uint64_t seed = 1;
  ModelConfig model;
  LoraConfig lora;
  TokenizerConfig tokenizer;
  DataConfig data;
  BatchConfig batch;
  ParallelismConfig parallelism;
  PrecisionConfig precision;
  MemoryConfig memory;
  OptimizerConfig optimizer;
  SchedulerConfig scheduler;
  TrainConfig train;
  CheckpointConfig checkpoint;
  EvalConfig eval;
  SampleConfig sample;
  LoggingConfig logging;

  // By "section.key", for the keys that the file or an override sets. Only messages use it: it is
  // not part of what the run is, and dump_config leaves it out.
  std::map<std::string, KeyOrigin, std::less<>> origins;
};

// All problems of a file and its overrides at once; what() is the whole text for the user.
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Reads a YAML file, then overrides "section.key=value" in order. Checks names, types, ranges and
// choices; throws ConfigError with every problem: file, line, column, the source line, a caret,
// what was expected, the nearest key.
Config load_config(const std::string& path, std::span<const std::string> overrides);
// The same from text; `name` stands for the path in messages.
Config parse_config(std::string_view text, const std::string& name,
                    std::span<const std::string> overrides);

// Sets the model section from the text of a config.json, as model.init_from asks: every key that
// the user did not set; one that was set to another value is a problem, and so is a text without a
// key whose default differs among programs. name: of the text, for messages. Throws ConfigError,
// all problems at once.
void adopt_model(Config& config, std::string_view json, const std::string& name);

// Sets the lora section from the text of PEFT's adapter_config.json, as lora.init_from asks: what
// the user did not set; what was set to another value is a problem, and so is a field that changes
// what the adapters compute and is not known here. Throws ConfigError, all problems at once.
void adopt_adapter(Config& config, std::string_view json, const std::string& name);

// Fills every `auto` that needs no files: data-parallel size, lanes, decay steps, model defaults;
// and checks what spans keys: sizes that must divide, the number of ranks against the layout
// (saying which product was expected). model.vocab_size stays absent when it is auto. Throws
// ConfigError, all problems at once.
void resolve_config(Config& config, int world_size);

// YAML that load_config reads back to an equal config; every key is written. Goes into every run
// folder and checkpoint.
std::string dump_config(const Config& config);

// configs/README.md: every key with type, default, range or choices, and its text.
std::string config_reference_markdown();

}  // namespace frugal
