#include "trainer/checkpoint/weight_set.h"

#include <algorithm>

#include "kernels/core/check.h"

namespace frugal {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kA = ".lora_A.weight", kB = ".lora_B.weight";
constexpr std::string_view kHead = "lm_head.weight";

const CheckpointReader::Entry* find_entry(const WeightSet& set, const std::string& name) {
  const auto found =
      std::ranges::lower_bound(set.entries, name, {}, &CheckpointReader::Entry::name);
  return found != set.entries.end() && found->name == name ? &*found : nullptr;
}

// A box of one of the checkpoint's tensors in float32.
std::vector<float> read_box(const WeightSet& set, const CheckpointReader::Entry& entry,
                            std::array<std::int64_t, 4> offset, const Shape& extent) {
  std::vector<std::byte> stored(static_cast<std::size_t>(extent.numel()) * size_of(entry.dtype));
  const Tensor local{stored.data(), extent, entry.dtype, {}};
  set.read({.name = entry.name, .global = entry.global, .offset = offset, .local = local});
  std::vector<float> out(static_cast<std::size_t>(extent.numel()));
  visit_float(entry.dtype, [&]<class T>() {
    std::transform(local.as<T>(), local.as<T>() + out.size(), out.begin(),
                   [](T x) { return static_cast<float>(x); });
  });
  return out;
}

// slice.local += scale * B A, of the box's rows of B and columns of A.
void add_adapter(const WeightSet& adapters, const TensorSlice& slice, float scale) {
  const std::string module = slice.name.substr(0, slice.name.size() - kWeight.size());
  const auto* a = find_entry(adapters, module + std::string(kA));
  const auto* b = find_entry(adapters, module + std::string(kB));
  if (a == nullptr || b == nullptr) return;
  const std::int64_t rank = a->global[0], rows = slice.local.shape[0],
                     columns = slice.local.shape[1];
  const auto a_RC = read_box(adapters, *a, {0, slice.offset[1]}, {rank, columns});
  const auto b_NR = read_box(adapters, *b, {slice.offset[0], 0}, {rows, rank});
  std::vector<float> sums(static_cast<std::size_t>(columns));
  for (std::int64_t n = 0; n < rows; ++n) {
    std::ranges::fill(sums, 0.0F);
    for (std::int64_t r = 0; r < rank; ++r) {
      const float factor = b_NR[static_cast<std::size_t>(n * rank + r)];
      const float* from = a_RC.data() + r * columns;
      for (std::size_t c = 0; c < sums.size(); ++c) sums[c] += factor * from[c];
    }
    float* row = slice.local.as<float>() + n * columns;
    for (std::size_t c = 0; c < sums.size(); ++c) row[c] += scale * sums[c];
  }
}

// Throws where an adapter's weight is not in the base, or of other sizes.
void check_adapters(const WeightSet& adapters, const WeightSet& merged) {
  for (const auto& entry : adapters.entries) {
    const bool is_a = entry.name.ends_with(kA);
    const std::string module = entry.name.substr(0, entry.name.size() - kA.size());
    const auto* weight = find_entry(merged, module + std::string(kWeight));
    const auto* other = find_entry(adapters, module + std::string(is_a ? kB : kA));
    const bool fits = (is_a || entry.name.ends_with(kB)) && weight != nullptr && other != nullptr &&
                      weight->global.rank == 2 && entry.global.rank == 2 &&
                      other->global.rank == 2 &&
                      entry.global[is_a ? 1 : 0] == weight->global[is_a ? 1 : 0] &&
                      entry.global[is_a ? 0 : 1] == other->global[is_a ? 1 : 0];
    if (fits) continue;
    fail(ErrorKind::kData, adapters.where, ": tensor ", entry.name, " ", to_string(entry.global),
         " adapts no weight of ", merged.where);
  }
}

}  // namespace

WeightSet stored_weights(const CheckpointReader& reader) {
  WeightSet out{.where = reader.directory(), .entries = {}, .read = {}};
  for (CheckpointReader::Entry entry : reader.tensors()) {
    if (!entry.name.starts_with(kWeightKind)) continue;
    entry.name.erase(0, kWeightKind.size());
    out.entries.push_back(std::move(entry));
  }
  out.read = [&reader](const TensorSlice& slice) {
    TensorSlice stored = slice;
    stored.name = std::string(kWeightKind) + slice.name;
    reader.read(stored);
  };
  return out;
}

WeightSet merged_weights(const CheckpointReader& reader, const ForeignWeights& base,
                         const Config& config) {
  WeightSet out{.where = base.path(), .entries = {}, .read = {}};
  for (const ForeignWeights::Entry& entry : base.tensors()) {
    if (config.model.tie_word_embeddings && entry.name == kHead) continue;
    out.entries.push_back({entry.name, DType::kF32, entry.shape});
  }
  WeightSet adapters = stored_weights(reader);
  check_adapters(adapters, out);
  const auto scale = static_cast<float>(config.lora.alpha / config.lora.rank);
  out.read = [&base, adapters = std::move(adapters), scale](const TensorSlice& slice) {
    base.read(slice);
    if (slice.global.rank == 2) add_adapter(adapters, slice, scale);
  };
  return out;
}

std::unique_ptr<ForeignWeights> open_base(const CheckpointReader& reader, const std::string& path) {
  std::unique_ptr<ForeignWeights> base;
  try {
    base = ForeignWeights::open(path);
  } catch (const Error& error) {
    fail(error.kind(), reader.directory(), ": holds adapters of a base model that cannot be read (",
         error.what(),
         "); say where it lies now with model.init_from=PATH, for an export with --base PATH");
  }
  const auto& identity = reader.info().identity;
  const auto saved = identity.find(kBaseIdentity);
  if (saved == identity.end() || saved->second != base->fingerprint()) {
    fail(ErrorKind::kData, path, ": is not the base model beside which the adapters in ",
         reader.directory(),
         " were trained; say where that lies with model.init_from=PATH, for an export with --base "
         "PATH");
  }
  return base;
}

}  // namespace frugal
