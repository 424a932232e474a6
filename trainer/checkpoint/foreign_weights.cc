#include "trainer/checkpoint/foreign_weights.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "fmt/format.h"
#include "kernels/core/check.h"
#include "trainer/checkpoint/element_reader.h"
#include "trainer/checkpoint/format.h"
#include "trainer/checkpoint/gguf_config.h"
#include "trainer/checkpoint/json_text.h"
#include "trainer/checkpoint/safetensors_file.h"
#include "trainer/checkpoint/weight_names.h"

namespace frugal {
namespace {

constexpr std::int64_t kMaxConfigBytes = 1 << 20;
constexpr std::int64_t kMaxRopeFactors = 1 << 16;
constexpr std::size_t kMostProblems = 10;
constexpr std::string_view kGpt2Prefix = "transformer.";
constexpr std::string_view kHead = "lm_head.weight", kEmbedding = "model.embed_tokens.weight";

std::string text_of(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

// The shape in the file of a tensor with this one here.
std::vector<std::int64_t> shape_there(const WeightRule& rule, const Shape& here) {
  std::vector<std::int64_t> shape(here.dim.begin(), here.dim.begin() + here.rank);
  if (!shape.empty()) shape[0] *= rule.parts;
  if (rule.transposed && shape.size() == 2) std::swap(shape[0], shape[1]);
  return shape;
}

// The inverse; a scalar where nothing here has such a shape in the file.
Shape shape_here(const WeightRule& rule, std::vector<std::int64_t> there) {
  if (rule.transposed && there.size() == 2) std::swap(there[0], there[1]);
  if (there.empty() || there.size() > 4 || there[0] % rule.parts != 0) return {};
  there[0] /= rule.parts;
  Shape shape;
  shape.rank = static_cast<int>(there.size());
  std::copy(there.begin(), there.end(), shape.dim.begin());
  return shape;
}

}  // namespace

struct ForeignWeights::Impl {
  struct Place {
    int tensor;
    const WeightRule* rule;
  };

  std::string path, config, type;
  WeightFormat format = WeightFormat::kHuggingFace;
  std::span<const WeightRule> rules;
  ForeignFiles in;
  std::map<std::string, Place, std::less<>> places;  // by our name
  std::vector<int> strangers;                        // tensors that no rule knows
  bool prefixed = true;                              // names of a GPT-2 begin with transformer.
  std::int64_t query_heads = 0, key_heads = 0;       // where rows of rotary pairs are neighbours
  std::optional<GgufTokenizer> tokenizer;

  const ForeignTensor& tensor(const Place& place) const {
    return in.tensors[static_cast<std::size_t>(place.tensor)];
  }
  const StoredFile& file_of(const ForeignTensor& tensor) const {
    return *in.files[static_cast<std::size_t>(tensor.file)].file;
  }

  void open_folder() {
    const std::string where = path + "/config.json";
    std::error_code unknown;
    if (!std::filesystem::exists(where, unknown)) {
      fail(ErrorKind::kData, path,
           ": holds no config.json; name the folder of a model, or a .gguf file");
    }
    config = read_small_file(where, kMaxConfigBytes, Links::kFollowed);
    const auto fields = parse_json_object(config, where, {.depth = 32, .values = 1 << 16});
    const auto found = fields.find("model_type");
    const std::string model_type =
        found != fields.end() && found->is_string() ? found->get<std::string>() : "";
    rules = weight_rules(format, model_type);
    if (rules.empty()) {
      fail(ErrorKind::kData, where, ": model_type is ",
           found == fields.end() ? "missing" : found->dump(-1, ' ', true),
           "; gpt2, llama, qwen2 and qwen3 can be read");
    }
    in = open_safetensors_folder(path);
  }

  void open_gguf() {
    format = WeightFormat::kGguf;
    auto file = std::make_unique<StoredFile>(path, Links::kFollowed);
    const GgufContent content = read_gguf(*file, path);
    rules = weight_rules(format, gguf_model_type(content, path));
    query_heads = gguf_size(content, path, "attention.head_count").value_or(0);
    key_heads = gguf_size(content, path, "attention.head_count_kv").value_or(query_heads);
    std::vector<float> factors;
    for (const ForeignTensor& tensor : content.tensors) {
      if (!is_no_weight(format, tensor.name)) continue;
      if (tensor.element != ElementType::kF32 || tensor.shape.size() != 1 ||
          tensor.shape[0] > kMaxRopeFactors) {
        fail(ErrorKind::kData, path, ": tensor ", tensor.name, " is not a list of factors in F32");
      }
      factors.resize(static_cast<std::size_t>(tensor.shape[0]));
      file->read(tensor.position, std::as_writable_bytes(std::span(factors)));
    }
    config = config_of_gguf(content, path, factors);
    tokenizer = tokenizer_of_gguf(content, path);
    in.tensors = content.tensors;
    in.files.push_back({path, std::move(file)});
  }

  // Finds the place of every tensor here.
  void index() {
    std::map<std::string, std::int64_t> elements;
    for (std::size_t i = 0; i < in.tensors.size(); ++i) {
      const ForeignTensor& tensor = in.tensors[i];
      if (is_no_weight(format, tensor.name)) continue;
      elements[tensor.type] += elements_of(tensor.shape).value();
      if (!add_places(static_cast<int>(i))) strangers.push_back(static_cast<int>(i));
    }
    const auto most =
        std::ranges::max_element(elements, {}, [](const auto& entry) { return entry.second; });
    if (most != elements.end()) type = most->first;
  }

  // False where no rule knows the tensor, or another has its place.
  bool add_places(int number) {
    const auto name = parse_weight_name(in.tensors[static_cast<std::size_t>(number)].name);
    if (!name) return false;
    auto found = rules_of_theirs(rules, name->module);
    if (found.empty()) {
      found = rules_of_theirs(rules, std::string(kGpt2Prefix) + name->module);
      if (!found.empty()) prefixed = false;
    }
    bool added = !found.empty();
    for (const WeightRule& rule : found) {
      added &= places.emplace(weight_name(rule.ours, *name), Place{number, &rule}).second;
    }
    return added;
  }

  // What the file would call it; our name where no rule knows it.
  std::string name_there(const std::string& ours) const {
    const auto name = parse_weight_name(ours);
    const WeightRule* rule = name ? rule_of_ours(rules, name->module) : nullptr;
    if (rule == nullptr) return ours;
    std::string_view module = rule->theirs;
    if (!prefixed && module.starts_with(kGpt2Prefix)) module.remove_prefix(kGpt2Prefix.size());
    return weight_name(module, *name);
  }

  std::int64_t heads_of(const WeightRule& rule) const {
    if (rule.rotary == RotaryRows::kAsHere) return 0;
    return rule.rotary == RotaryRows::kQuery ? query_heads : key_heads;
  }

  // Why the tensor cannot be read as one of this shape here, or nothing.
  std::string problem_of(const Place& place, const Shape& here) const {
    const ForeignTensor& stored = tensor(place);
    const WeightRule& rule = *place.rule;
    const auto there = shape_there(rule, here);
    if (stored.shape != there) {
      return concat(stored.name, ": the file has ", text_of(stored.shape), ", the model ",
                    text_of(there));
    }
    if (!stored.element) {
      return concat(stored.name, ": is stored as ", stored.type,
                    "; F32, F16, BF16, Q8_0, Q4_0 and Q4_1 can be read");
    }
    if (rule.rotary != RotaryRows::kAsHere &&
        (heads_of(rule) < 1 || there[0] % (2 * heads_of(rule)) != 0)) {
      return concat(stored.name, ": ", there[0], " rows are no rotary pairs of ", heads_of(rule),
                    " heads");
    }
    return {};
  }

  // Whether a tensor begins and ends as another: a MiB each.
  bool looks_like(const Place& a, const Place& b) const {
    const ForeignTensor &left = tensor(a), &right = tensor(b);
    if (left.type != right.type || left.shape != right.shape) return false;
    const auto size = static_cast<std::size_t>(std::min(kChunkBytes, left.bytes));
    std::vector<std::byte> mine(size), other(size);
    for (const std::int64_t from :
         {std::int64_t{0}, left.bytes - static_cast<std::int64_t>(size)}) {
      file_of(left).read(left.position + from, mine);
      file_of(right).read(right.position + from, other);
      if (mine != other) return false;
    }
    return true;
  }

  void add_excess(std::span<const Expected> model, std::vector<std::string>& problems) const {
    std::vector<std::string_view> names;
    for (const Expected& expected : model) names.push_back(expected.name);
    std::ranges::sort(names);
    const auto in_excess = [&](const ForeignTensor& stored) {
      problems.push_back(
          concat(stored.name, ": ", text_of(stored.shape), ", the model has no such tensor"));
    };
    for (const auto& [name, place] : places) {
      if (std::ranges::binary_search(names, name)) continue;
      const auto table = places.find(kEmbedding);
      if (name != kHead || table == places.end()) {
        in_excess(tensor(place));
      } else if (!looks_like(place, table->second)) {
        problems.push_back(concat(tensor(place).name, ": is not ", tensor(table->second).name,
                                  ", but the model ties them; set tie_word_embeddings: false"));
      }
    }
    for (const int stranger : strangers) in_excess(tensor({stranger, nullptr}));
  }

  void read(const Place& place, const TensorSlice& slice) const {
    const ForeignTensor& stored = tensor(place);
    const WeightRule& rule = *place.rule;
    const std::int64_t first_row = slice.global[0] * rule.part;
    ElementReader reader(file_of(stored), stored);
    const DType to = slice.local.dtype;
    const auto size = static_cast<std::int64_t>(size_of(to));
    if (rule.transposed && slice.global.rank == 2) {
      return reader.read_transposed(slice.offset[1], first_row + slice.offset[0], slice.local);
    }
    if (const std::int64_t heads = heads_of(rule); heads > 0) {
      const std::int64_t width = slice.global.numel() / std::max<std::int64_t>(slice.global[0], 1);
      const std::int64_t columns = slice.local.numel() / slice.local.shape[0];
      for (std::int64_t r = 0; r < slice.local.shape[0]; ++r) {
        const std::int64_t row = row_there(slice.offset[0] + r, slice.global[0], heads);
        reader.read(row * width + slice.offset[1], columns, to,
                    slice.local.data + r * columns * size);
      }
      return;
    }
    Box whole{{-first_row}, slice.global};
    whole.extent.dim[0] *= rule.parts;
    for_each_common_run(whole, {slice.offset, slice.local.shape},
                        [&](std::int64_t from, std::int64_t at, std::int64_t count) {
                          reader.read(from, count, to, slice.local.data + at * size);
                        });
  }
};

ForeignWeights::ForeignWeights(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ForeignWeights::~ForeignWeights() = default;

std::unique_ptr<ForeignWeights> ForeignWeights::open(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  if (path.ends_with(".gguf")) {
    impl->open_gguf();
  } else {
    impl->open_folder();
  }
  impl->index();
  return std::unique_ptr<ForeignWeights>(new ForeignWeights(std::move(impl)));
}

const std::string& ForeignWeights::path() const {
  return impl_->path;
}
const std::string& ForeignWeights::config_json() const {
  return impl_->config;
}
const GgufTokenizer* ForeignWeights::tokenizer() const {
  return impl_->tokenizer ? &*impl_->tokenizer : nullptr;
}
const std::string& ForeignWeights::type() const {
  return impl_->type;
}

std::vector<ForeignWeights::Entry> ForeignWeights::tensors() const {
  std::vector<Entry> entries;
  for (const auto& [name, place] : impl_->places) {
    const ForeignTensor& stored = impl_->tensor(place);
    entries.push_back({name, shape_here(*place.rule, stored.shape), stored.type});
  }
  return entries;
}

std::string ForeignWeights::fingerprint() const {
  constexpr std::int64_t kEnd = 4096;
  std::string facts;
  std::vector<std::byte> ends;
  for (const auto& [name, place] : impl_->places) {
    const ForeignTensor& stored = impl_->tensor(place);
    const std::int64_t size = std::min(kEnd, stored.bytes);
    ends.resize(static_cast<std::size_t>(2 * size));
    impl_->file_of(stored).read(stored.position, std::span(ends).first(ends.size() / 2));
    impl_->file_of(stored).read(stored.position + stored.bytes - size,
                                std::span(ends).subspan(ends.size() / 2));
    facts +=
        fmt::format("{} {} {} {:016x}\n", name, text_of(stored.shape), stored.type, xxh3_64(ends));
  }
  return fmt::format("{:016x}", xxh3_64(bytes_of(facts)));
}

void ForeignWeights::check(std::span<const Expected> model) const {
  std::vector<std::string> problems;
  for (const Expected& expected : model) {
    const auto found = impl_->places.find(expected.name);
    std::string problem = found == impl_->places.end()
                              ? concat(impl_->name_there(expected.name), ": is missing (",
                                       to_string(expected.shape), " in the model)")
                              : impl_->problem_of(found->second, expected.shape);
    // Several of ours may be one of theirs.
    if (!problem.empty() && std::ranges::find(problems, problem) == problems.end()) {
      problems.push_back(std::move(problem));
    }
  }
  impl_->add_excess(model, problems);
  if (problems.empty()) return;
  const std::size_t shown = std::min(problems.size(), kMostProblems);
  std::string text;
  for (std::size_t i = 0; i < shown; ++i) text += "\n  " + problems[i];
  if (problems.size() > shown) text += concat("\n  and ", problems.size() - shown, " more");
  fail(ErrorKind::kData, path(), ": its tensors are not those of the model:", text);
}

void ForeignWeights::read(const TensorSlice& slice) const {
  const auto found = impl_->places.find(slice.name);
  if (found == impl_->places.end()) {
    fail(ErrorKind::kData, path(), ": holds no tensor ", impl_->name_there(slice.name));
  }
  const std::string problem = impl_->problem_of(found->second, slice.global);
  if (!problem.empty()) fail(ErrorKind::kData, path(), ": tensor ", problem);
  FRUGAL_CHECK(contains(slice.global, {slice.offset, slice.local.shape}), slice.name, ": box ",
               to_string(slice.local.shape), " lies outside ", to_string(slice.global));
  FRUGAL_CHECK(on_host(slice.local.device), slice.name, ": not on the host");
  if (slice.local.numel() > 0) impl_->read(found->second, slice);
}

}  // namespace frugal
