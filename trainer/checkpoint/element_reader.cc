#include "trainer/checkpoint/element_reader.h"

#include <algorithm>
#include <cstring>

#include "kernels/core/check.h"

namespace frugal {
namespace {

// At once: half a MiB of file and of float32 each.
constexpr std::int64_t kMostElements = 1 << 17;
constexpr std::int64_t kStripBytes = 1 << 19;
constexpr std::int64_t kTile = 32;

// Column c of `from` [rows, columns] becomes row c of `to`, whose rows are to_stride apart: tile by
// tile, so that both sides stay in the cache.
template <class Word>
void transpose(const std::byte* from, std::byte* to, std::int64_t rows, std::int64_t columns,
               std::int64_t to_stride) {
  for (std::int64_t r0 = 0; r0 < rows; r0 += kTile) {
    for (std::int64_t c0 = 0; c0 < columns; c0 += kTile) {
      for (std::int64_t c = c0; c < std::min(columns, c0 + kTile); ++c) {
        for (std::int64_t r = r0; r < std::min(rows, r0 + kTile); ++r) {
          std::memcpy(to + (c * to_stride + r) * static_cast<std::int64_t>(sizeof(Word)),
                      from + (r * columns + c) * static_cast<std::int64_t>(sizeof(Word)),
                      sizeof(Word));
        }
      }
    }
  }
}

}  // namespace

void ElementReader::read(std::int64_t first, std::int64_t count, DType to, std::byte* out) {
  const auto size = static_cast<std::int64_t>(size_of(to));
  if (dtype_of(*tensor_.element) == to) {
    return file_.read(tensor_.position + first * size,
                      {out, static_cast<std::size_t>(count * size)});
  }
  while (count > 0) {
    const std::int64_t part =
        std::min(count, kMostElements - 2 * layout_of(*tensor_.element).block);
    read_converted(first, part, to, out);
    first += part;
    count -= part;
    out += part * size;
  }
}

void ElementReader::read_converted(std::int64_t first, std::int64_t count, DType to,
                                   std::byte* out) {
  const ElementLayout& layout = layout_of(*tensor_.element);
  const std::int64_t begin_block = first / layout.block;
  const std::int64_t blocks = (first + count + layout.block - 1) / layout.block - begin_block;
  const auto elements = static_cast<std::size_t>(blocks * layout.block);
  stored_.resize(static_cast<std::size_t>(blocks * layout.bytes));
  file_.read(tensor_.position + begin_block * layout.bytes, stored_);
  const bool whole = first % layout.block == 0 && static_cast<std::size_t>(count) == elements;
  if (to == DType::kF32 && whole) {
    return decode_blocks(*tensor_.element, stored_, {reinterpret_cast<float*>(out), elements});
  }
  values_.resize(elements);
  decode_blocks(*tensor_.element, stored_, values_);
  encode_blocks(element_type_of(to),
                std::span(values_).subspan(static_cast<std::size_t>(first % layout.block),
                                           static_cast<std::size_t>(count)),
                {out, static_cast<std::size_t>(count) * size_of(to)});
}

void ElementReader::read_transposed(std::int64_t begin_row, std::int64_t begin_column,
                                    const Tensor& local_RC) {
  const auto size = static_cast<std::int64_t>(size_of(local_RC.dtype));
  const std::int64_t rows = local_RC.shape[1], columns = local_RC.shape[0];  // in the file
  const std::int64_t width = tensor_.shape[1];
  const std::int64_t strip_columns = std::min(columns, kStripBytes / size);
  const std::int64_t strip_rows = std::min(rows, kStripBytes / size / strip_columns);
  std::vector<std::byte> strip(static_cast<std::size_t>(strip_rows * strip_columns * size));
  for (std::int64_t c = 0; c < columns; c += strip_columns) {
    const std::int64_t some_columns = std::min(strip_columns, columns - c);
    for (std::int64_t r = 0; r < rows; r += strip_rows) {
      const std::int64_t some_rows = std::min(strip_rows, rows - r);
      const std::int64_t at_once = some_columns == width ? some_rows : 1;  // contiguous rows
      for (std::int64_t i = 0; i < some_rows; i += at_once) {
        read((begin_row + r + i) * width + begin_column + c, at_once * some_columns, local_RC.dtype,
             strip.data() + i * some_columns * size);
      }
      std::byte* to = local_RC.data + (c * rows + r) * size;
      const auto move = size == 4 ? transpose<std::uint32_t> : transpose<std::uint16_t>;
      move(strip.data(), to, some_rows, some_columns, rows);
    }
  }
}

}  // namespace frugal
