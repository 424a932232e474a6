// Which tensors an export writes, and their elements row by row.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/checkpoint/elements.h"
#include "trainer/checkpoint/weight_names.h"
#include "trainer/checkpoint/weight_set.h"

namespace frugal {

struct ExportTensor {
  std::string name;                 // there
  std::vector<std::int64_t> shape;  // there: one or two sizes
  const WeightRule* rule = nullptr;
  std::vector<std::string> ours;  // here, one below the other
  Shape part;                     // each of ours, as it is here
  DType stored = DType::kF32;
  ElementType element = ElementType::kF32;  // there

  std::int64_t row() const { return shape.size() == 2 ? shape[1] : 1; }  // elements
  std::int64_t bytes() const;                                            // there
};

// The weights in the order of the rules, `element` still to be chosen. Throws
// Error(kData) where a weight has no name there, or ones that belong together differ.
std::vector<ExportTensor> plan_export(const WeightSet& weights, std::span<const WeightRule> rules);

// Adapters as PEFT's files have them, `element` still to be chosen: under their own names with
// kPeftPrefix.
std::vector<ExportTensor> plan_adapter_export(const WeightSet& adapters);

// Rows of a tensor as it is there, band by band.
class ExportRows {
 public:
  // heads: of a tensor whose rule orders rows of heads otherwise. All must outlive it.
  ExportRows(const WeightSet& weights, const ExportTensor& tensor, std::int64_t heads)
      : weights_(weights), tensor_(tensor), heads_(heads) {}

  // The next rows in float32, empty at the end; valid until the next call.
  std::span<const float> next();

 private:
  void read_box(const std::string& name, std::int64_t begin_row, std::int64_t begin_column,
                const Shape& extent);
  void add_rows(std::int64_t part, std::int64_t begin, std::int64_t count);
  void add_columns(std::int64_t begin, std::int64_t count);

  const WeightSet& weights_;
  const ExportTensor& tensor_;
  const std::int64_t heads_;
  std::int64_t position_ = 0;  // the next row there
  std::vector<std::byte> stored_;
  std::vector<float> box_, band_;
};

}  // namespace frugal
