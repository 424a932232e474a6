#include "trainer/checkpoint/export_plan.h"

#include <algorithm>
#include <map>

#include "kernels/core/check.h"
#include "trainer/checkpoint/foreign_tensor.h"

namespace frugal {
namespace {

constexpr std::int64_t kBandElements = 4 << 20;

using Entries = std::map<std::string, CheckpointReader::Entry>;

class Planner {
 public:
  Planner(const WeightSet& weights, std::span<const WeightRule> rules)
      : weights_(weights), rules_(rules) {
    for (const CheckpointReader::Entry& entry : weights.entries) {
      const auto name = parse_weight_name(entry.name);
      if (name) layers_ = std::max(layers_, name->layer + 1);
      left_.emplace(entry.name, entry);
    }
  }

  std::vector<ExportTensor> plan() {
    const auto in_layer = [](const WeightRule& rule) {
      return rule.ours.find('#') != std::string_view::npos;
    };
    const auto first = std::ranges::find_if(rules_, in_layer);
    const auto last = std::find_if_not(first, rules_.end(), in_layer);
    add_modules({rules_.begin(), first}, -1);
    for (int layer = 0; layer < layers_; ++layer) add_modules({first, last}, layer);
    add_modules({last, rules_.end()}, -1);
    if (out_.empty()) {
      fail(ErrorKind::kData, weights_.where, ": holds no weights (", kWeightKind, "...)");
    }
    if (!left_.empty()) {
      fail(ErrorKind::kData, weights_.where, ": tensor ", left_.begin()->second.name,
           " has no name in this format");
    }
    return std::move(out_);
  }

 private:
  void add_modules(std::span<const WeightRule> rules, int layer) {
    for (std::size_t i = 0; i < rules.size(); i += static_cast<std::size_t>(rules[i].parts)) {
      for (const char* suffix : {"weight", "bias"}) {
        add(rules.subspan(i, static_cast<std::size_t>(rules[i].parts)), {"", layer, suffix});
      }
    }
  }

  // One of theirs, if the first of its parts is there.
  void add(std::span<const WeightRule> parts, const WeightName& like) {
    const auto first = left_.find(weight_name(parts[0].ours, like));
    if (first == left_.end()) return;
    const CheckpointReader::Entry entry = first->second;
    ExportTensor tensor{.name = weight_name(parts[0].theirs, like),
                        .rule = &parts[0],
                        .part = entry.global,
                        .stored = entry.dtype};
    for (const WeightRule& part : parts) {
      const std::string ours = weight_name(part.ours, like);
      const auto found = left_.find(ours);
      if (found == left_.end() || found->second.global != entry.global ||
          found->second.dtype != entry.dtype || entry.global.rank < 1 || entry.global.rank > 2) {
        fail(ErrorKind::kData, weights_.where, ": tensor ", ours, " is missing or not as ",
             entry.name, ", with which it is one tensor there");
      }
      tensor.ours.push_back(found->second.name);
      left_.erase(found);
    }
    tensor.shape.assign(entry.global.dim.begin(), entry.global.dim.begin() + entry.global.rank);
    tensor.shape[0] *= parts[0].parts;
    if (parts[0].transposed && entry.global.rank == 2) std::swap(tensor.shape[0], tensor.shape[1]);
    out_.push_back(std::move(tensor));
  }

  const WeightSet& weights_;
  std::span<const WeightRule> rules_;
  Entries left_;  // by our name
  int layers_ = 0;
  std::vector<ExportTensor> out_;
};

}  // namespace

std::int64_t ExportTensor::bytes() const {
  const ElementLayout& layout = layout_of(element);
  return elements_of(shape).value() / layout.block * layout.bytes;
}

std::vector<ExportTensor> plan_export(const WeightSet& weights, std::span<const WeightRule> rules) {
  return Planner(weights, rules).plan();
}

std::vector<ExportTensor> plan_adapter_export(const WeightSet& adapters) {
  static constexpr WeightRule kAsHere{};
  std::vector<ExportTensor> out;
  for (const CheckpointReader::Entry& entry : adapters.entries) {
    out.push_back({.name = std::string(kPeftPrefix) + entry.name,
                   .shape = {entry.global[0], entry.global[1]},
                   .rule = &kAsHere,
                   .ours = {entry.name},
                   .part = entry.global,
                   .stored = entry.dtype});
  }
  return out;
}

std::span<const float> ExportRows::next() {
  band_.clear();
  const std::int64_t rows = tensor_.shape[0];
  std::int64_t count = std::clamp<std::int64_t>(kBandElements / tensor_.row(), 1, rows);
  if (tensor_.rule->transposed && tensor_.shape.size() == 2) {
    count = std::min(count, rows - position_);
    if (count > 0) add_columns(position_, count);
  } else {
    // Inside one part; whole heads where their rows are mixed.
    const std::int64_t height = tensor_.part[0];
    const std::int64_t unit = heads_ > 0 ? height / heads_ : 1;
    count = std::max(count / unit, std::int64_t{1}) * unit;
    count = std::min({count, rows - position_, height - position_ % height});
    if (count > 0) add_rows(position_ / height, position_ % height, count);
  }
  position_ += count;
  return band_;
}

// box_ = that box of one of ours.
void ExportRows::read_box(const std::string& name, std::int64_t begin_row,
                          std::int64_t begin_column, const Shape& extent) {
  const auto elements = static_cast<std::size_t>(extent.numel());
  stored_.resize(elements * size_of(tensor_.stored));
  box_.resize(elements);
  weights_.read({name,
                 tensor_.part,
                 {begin_row, begin_column},
                 {stored_.data(), extent, tensor_.stored, {}}});
  decode_blocks(element_type_of(tensor_.stored), stored_, box_);
}

void ExportRows::add_rows(std::int64_t part, std::int64_t begin, std::int64_t count) {
  Shape extent = tensor_.part;
  extent.dim[0] = count;
  read_box(tensor_.ours[static_cast<std::size_t>(part)], begin, 0, extent);
  if (heads_ == 0) return band_.swap(box_);
  const std::int64_t width = tensor_.row();
  for (std::int64_t r = 0; r < count; ++r) {
    const std::int64_t from = row_here(begin + r, tensor_.part[0], heads_) - begin;
    band_.insert(band_.end(), box_.begin() + from * width, box_.begin() + (from + 1) * width);
  }
}

// Rows there are columns of all parts here.
void ExportRows::add_columns(std::int64_t begin, std::int64_t count) {
  const std::int64_t height = tensor_.part[0], width = tensor_.row();
  band_.resize(static_cast<std::size_t>(count * width));
  for (std::size_t part = 0; part < tensor_.ours.size(); ++part) {
    read_box(tensor_.ours[part], 0, begin, {height, count});
    float* to = band_.data() + static_cast<std::int64_t>(part) * height;
    for (std::int64_t r = 0; r < height; ++r) {
      for (std::int64_t c = 0; c < count; ++c) {
        to[c * width + r] = box_[static_cast<std::size_t>(r * count + c)];
      }
    }
  }
}

}  // namespace frugal
