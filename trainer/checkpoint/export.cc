#include "trainer/checkpoint/export.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <iterator>
#include <random>

#include "fmt/format.h"
#include "kernels/core/check.h"
#include "trainer/checkpoint/export_plan.h"
#include "trainer/checkpoint/file_ops.h"
#include "trainer/checkpoint/format.h"
#include "trainer/checkpoint/gguf_config.h"
#include "trainer/checkpoint/hugging_face_config.h"
#include "trainer/checkpoint/tokenizer_folder.h"

namespace frugal {
namespace {

struct ExportType {
  std::string_view name, torch;  // torch: none of Hugging Face's
  ElementType element;
  std::int64_t gguf_file_type;
};
constexpr std::array kTypes = {
    ExportType{"f32", "float32", ElementType::kF32, 0},
    ExportType{"f16", "float16", ElementType::kF16, 1},
    ExportType{"bf16", "bfloat16", ElementType::kBF16, 32},
    ExportType{"q8_0", "", ElementType::kQ8_0, 7},
};

Config config_of(const CheckpointReader& reader, const std::string& base) {
  try {
    Config config = parse_config(reader.info().config, reader.directory(), {});
    if (base.empty()) return config;
    if (config.tokenizer.path == config.model.init_from) config.tokenizer.path = base;
    config.model.init_from = base;
    return config;
  } catch (const ConfigError& error) {
    fail(ErrorKind::kData, reader.directory(), ": its config cannot be read: ", error.what());
  }
}

const ExportType& type_of(const ExportOptions& options, const CheckpointReader& reader,
                          const Config& config) {
  std::string name = options.dtype;
  if (name.empty() && options.format == WeightFormat::kPeft) name = "f32";
  if (name.empty()) {
    const auto& state = reader.info().state;
    const auto came_in = state.find("weights_dtype");
    name = came_in != state.end()               ? came_in->second
           : config.precision.compute == "fp32" ? "f32"
                                                : "bf16";
  }
  const auto* type = std::ranges::find(kTypes, name, &ExportType::name);
  const bool gguf = options.format == WeightFormat::kGguf;
  if (type == kTypes.end() || (!gguf && type->torch.empty())) {
    fail(ErrorKind::kUsage, "dtype '", name, "': ",
         gguf                                    ? "gguf has bf16, f16, f32 and q8_0"
         : options.format == WeightFormat::kPeft ? "peft has bf16, f16 and f32"
                                                 : "hf has bf16, f16 and f32");
  }
  return *type;
}

// A new file or folder that appears under its name when it is whole.
class Output {
 public:
  Output(FileOps& files, std::string path) : files_(files), path_(std::move(path)) {
    while (path_.size() > 1 && path_.ends_with('/')) path_.pop_back();
    refuse_existing();
    written_ = fmt::format("{}.writing-{:08x}", path_, std::random_device()());
  }
  ~Output() {
    if (!whole_) std::filesystem::remove_all(written_, ignored_);
  }
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  FileOps& files() const { return files_; }
  // Where to write.
  const std::string& path() const { return written_; }

  void publish() {
    refuse_existing();
    check_system(files_.rename(written_, path_), path_, "create");
    written_ = path_;
    const std::string parent = std::filesystem::path(path_).parent_path().string();
    check_system(files_.sync_directory(parent.empty() ? "." : parent), path_, "write");
    whole_ = true;
  }

 private:
  void refuse_existing() {
    if (!std::filesystem::exists(std::filesystem::symlink_status(path_, ignored_))) return;
    fail(ErrorKind::kUsage, path_, ": exists and is not overwritten; name another output");
  }

  FileOps& files_;
  std::string path_, written_;
  bool whole_ = false;
  std::error_code ignored_;
};

void write_file(const Output& output, const std::string& name, const std::string& content) {
  NewFile file(output.files(), output.path() + "/" + name);
  file.append(bytes_of(content));
  file.finish();
}

// The base of a LoRA run whose adapters are merged into it; null where nothing is to be merged.
std::unique_ptr<ForeignWeights> base_of(const CheckpointReader& reader,
                                        const ExportOptions& options, const Config& config) {
  const bool adapters = config.lora.rank > 0;
  if (options.format == WeightFormat::kPeft && !adapters) {
    fail(ErrorKind::kUsage, reader.directory(),
         ": is not of a LoRA run and has no adapters; export it with --format hf or gguf");
  }
  if (options.format == WeightFormat::kPeft && config.model.model_type == "gpt2") {
    fail(ErrorKind::kUsage, reader.directory(),
         ": GPT-2 has queries, keys and values in one transposed matrix, to which its adapters do "
         "not map one to one in PEFT; export the merged weights with --format hf or gguf");
  }
  if (!adapters || options.format == WeightFormat::kPeft) return nullptr;
  return open_base(reader, config.model.init_from);
}

std::int64_t heads_of(const ExportTensor& tensor, const ModelConfig& model) {
  if (tensor.rule->rotary == RotaryRows::kAsHere) return 0;
  return tensor.rule->rotary == RotaryRows::kQuery ? model.num_attention_heads
                                                   : model.num_key_value_heads;
}

void write_elements(NewFile& file, std::span<const float> values, const ExportTensor& tensor) {
  const ElementLayout& layout = layout_of(tensor.element);
  constexpr std::size_t kAtOnce = 1 << 17;
  std::vector<std::byte> stored;
  for (std::size_t begin = 0; begin < values.size(); begin += kAtOnce) {
    const auto some = values.subspan(begin, std::min(kAtOnce, values.size() - begin));
    stored.resize(some.size() / static_cast<std::size_t>(layout.block) *
                  static_cast<std::size_t>(layout.bytes));
    if (!encode_blocks(tensor.element, some, stored)) {
      fail(ErrorKind::kData, "tensor ", tensor.name, ": a value does not fit ", layout.name,
           "; export with --dtype f32 or bf16");
    }
    file.append(stored);
  }
}

class Exporter {
 public:
  Exporter(const CheckpointReader& reader, const ExportOptions& options)
      : reader_(reader),
        options_(options),
        config_(config_of(reader, options.base)),
        type_(type_of(options, reader, config_)),
        base_(base_of(reader, options, config_)),
        weights_(base_ ? merged_weights(reader, *base_, config_) : stored_weights(reader)) {
    const bool adapters = options.format == WeightFormat::kPeft;
    tensors_ = adapters
                   ? plan_adapter_export(weights_)
                   : plan_export(weights_, weight_rules(options.format, config_.model.model_type));
    for (ExportTensor& tensor : tensors_) tensor.element = element_of(tensor);
    if (adapters) return;
    FRUGAL_CHECK(tensors_[0].ours[0] == "model.embed_tokens.weight");
    vocab_size_ = tensors_[0].shape[0];
    tokenizer_.emplace(config_.tokenizer.path, options.tokenizer);
  }

  std::string run() {
    FileOps& files = options_.files == nullptr ? disk_files() : *options_.files;
    Output output(files, options_.output);
    const std::string parent = std::filesystem::path(output.path()).parent_path().string();
    if (!parent.empty()) make_directories(files, parent);
    if (options_.format == WeightFormat::kPeft) {
      write_adapter(output);
    } else if (options_.format == WeightFormat::kGguf) {
      write_gguf(output);
    } else {
      write_folder(output);
    }
    output.publish();
    std::int64_t bytes = 0;
    for (const ExportTensor& tensor : tensors_) bytes += tensor.bytes();
    return fmt::format("{}: {} tensors, {} bytes of {}, from step {}", options_.output,
                       tensors_.size(), bytes, type_.name, reader_.info().step);
  }

 private:
  ElementType element_of(const ExportTensor& tensor) const {
    if (options_.format != WeightFormat::kGguf) return type_.element;
    if (tensor.shape.size() == 1 || tensor.rule->ours == "model.embed_positions") {
      return ElementType::kF32;
    }
    const bool whole_blocks = tensor.row() % layout_of(type_.element).block == 0;
    return whole_blocks ? type_.element : ElementType::kF16;
  }

  void write_tensor(NewFile& file, const ExportTensor& tensor) const {
    ExportRows rows(weights_, tensor, heads_of(tensor, config_.model));
    for (auto band = rows.next(); !band.empty(); band = rows.next()) {
      write_elements(file, band, tensor);
    }
  }

  void write_gguf(const Output& output) const {
    GgufMetadata metadata = {{"general.architecture", GgufValue::text(config_.model.model_type)},
                             {"general.type", GgufValue::text("model")},
                             {"general.name", GgufValue::text(config_.run.name)},
                             {"general.file_type", GgufValue::u32(type_.gguf_file_type)},
                             {"general.quantization_version", GgufValue::u32(2)}};
    const auto add = [&](GgufMetadata more) {
      std::ranges::move(more, std::back_inserter(metadata));
    };
    add(gguf_metadata_of(config_.model, vocab_size_));
    add(tokenizer_->gguf(vocab_size_));
    const std::vector<float> factors = rope_factors_of(config_.model);
    std::vector<GgufTensor> described;
    if (!factors.empty()) {
      described.push_back({std::string(kRopeFactors),
                           ElementType::kF32,
                           {static_cast<std::int64_t>(factors.size())}});
    }
    for (const ExportTensor& tensor : tensors_) {
      described.push_back({tensor.name, tensor.element, tensor.shape});
    }
    NewFile file(output.files(), output.path());
    const auto pad = [&](std::int64_t bytes) {
      file.append(bytes_of(std::string(static_cast<std::size_t>(gguf_padding(bytes)), '\0')));
    };
    file.append(bytes_of(gguf_header(metadata, described)));
    file.append(std::as_bytes(std::span(factors)));
    pad(static_cast<std::int64_t>(factors.size() * sizeof(float)));
    for (const ExportTensor& tensor : tensors_) {
      write_tensor(file, tensor);
      pad(tensor.bytes());
    }
    file.finish();
  }

  void write_adapter(const Output& output) const {
    check_system(output.files().make_directory(output.path()), output.path(), "create");
    write_file(output, "adapter_config.json", adapter_config(config_));
    write_shard(output, "adapter_model.safetensors", tensors_);
    check_system(output.files().sync_directory(output.path()), output.path(), "write");
  }

  void write_folder(const Output& output) const {
    check_system(output.files().make_directory(output.path()), output.path(), "create");
    const ExportFacts facts{vocab_size_, type_.torch, tokenizer_->bos(), tokenizer_->eos()};
    write_file(output, "config.json", hugging_face_config(config_.model, facts));
    write_file(output, "generation_config.json", generation_config(facts));
    for (const auto& [name, content] : tokenizer_->files(config_.model.max_position_embeddings)) {
      write_file(output, name, content);
    }
    const auto shards = split_into_shards();
    nlohmann::json places;
    std::int64_t bytes = 0, elements = 0;
    for (std::size_t i = 0; i < shards.size(); ++i) {
      const std::string name = shards.size() == 1 ? "model.safetensors"
                                                  : fmt::format("model-{:05}-of-{:05}.safetensors",
                                                                i + 1, shards.size());
      write_shard(output, name, shards[i]);
      for (const ExportTensor& tensor : shards[i]) {
        places[tensor.name] = name;
        bytes += tensor.bytes();
        elements += elements_of(tensor.shape).value();
      }
    }
    if (shards.size() > 1) {
      const nlohmann::json index{
          {"metadata", {{"total_parameters", elements}, {"total_size", bytes}}},
          {"weight_map", places}};
      write_file(output, "model.safetensors.index.json", index.dump(2) + "\n");
    }
    check_system(output.files().sync_directory(output.path()), output.path(), "write");
  }

  std::vector<std::span<const ExportTensor>> split_into_shards() const {
    std::vector<std::span<const ExportTensor>> shards;
    std::size_t begin = 0;
    std::int64_t bytes = 0;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (i > begin && bytes + tensors_[i].bytes() > options_.max_shard_bytes) {
        shards.push_back(std::span(tensors_).subspan(begin, i - begin));
        begin = i;
        bytes = 0;
      }
      bytes += tensors_[i].bytes();
    }
    shards.push_back(std::span(tensors_).subspan(begin));
    return shards;
  }

  void write_shard(const Output& output, const std::string& name,
                   std::span<const ExportTensor> tensors) const {
    nlohmann::ordered_json header{{"__metadata__", {{"format", "pt"}}}};
    std::int64_t position = 0;
    for (const ExportTensor& tensor : tensors) {
      header[tensor.name] = {{"dtype", layout_of(tensor.element).name},
                             {"shape", tensor.shape},
                             {"data_offsets", {position, position + tensor.bytes()}}};
      position += tensor.bytes();
    }
    NewFile file(output.files(), output.path() + "/" + name);
    file.append(bytes_of(framed_header(header.dump())));
    for (const ExportTensor& tensor : tensors) write_tensor(file, tensor);
    file.finish();
  }

  const CheckpointReader& reader_;
  const ExportOptions& options_;
  const Config config_;
  const ExportType& type_;
  const std::unique_ptr<ForeignWeights> base_;  // null: nothing is merged
  const WeightSet weights_;
  std::vector<ExportTensor> tensors_;
  std::optional<TokenizerFolder> tokenizer_;  // not for PEFT
  std::int64_t vocab_size_ = 0;
};

}  // namespace

std::string export_checkpoint(const CheckpointReader& reader, const ExportOptions& options) {
  return Exporter(reader, options).run();
}

}  // namespace frugal
