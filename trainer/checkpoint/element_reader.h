// Boxes of foreign tensors, converted on their way from the file.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/core/tensor.h"
#include "trainer/checkpoint/box.h"
#include "trainer/checkpoint/foreign_tensor.h"

namespace frugal {

// Elements of one tensor of a file, row-major. One per thread.
class ElementReader {
 public:
  // Both must outlive it. REQUIRES: the tensor has an element type.
  ElementReader(const StoredFile& file, const ForeignTensor& tensor)
      : file_(file), tensor_(tensor) {}

  // out = elements [first, first + count) as `to` (f32, bf16 or f16). Throws Error(kData) where the
  // file ends.
  void read(std::int64_t first, std::int64_t count, DType to, std::byte* out);

  // local_RC = the transposed of rows [begin_row, + C) and columns [begin_column, + R) of a matrix.
  void read_transposed(std::int64_t begin_row, std::int64_t begin_column, const Tensor& local_RC);

 private:
  void read_converted(std::int64_t first, std::int64_t count, DType to, std::byte* out);

  const StoredFile& file_;
  const ForeignTensor& tensor_;
  std::vector<std::byte> stored_;
  std::vector<float> values_;
};

}  // namespace frugal
