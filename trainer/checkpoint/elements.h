// Elements as foreign files store them, plain or in blocks with common scales, and as tensors here
// hold them. Blocks are ggml's; the definitions below are exact.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "kernels/core/dtype.h"

namespace frugal {

enum class ElementType : std::uint8_t { kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1 };

struct ElementLayout {
  std::string_view name;   // in capitals: "BF16", "Q4_1"
  std::int64_t block = 1;  // elements that are stored together, neighbours of one row
  std::int64_t bytes = 0;  // of a block
};
const ElementLayout& layout_of(ElementType type);
ElementType element_type_of(DType dtype);         // REQUIRES: f32, f16 or bf16
std::optional<DType> dtype_of(ElementType type);  // nullopt for blocks

// out_N = the elements of whole blocks, in float32.
//   F32, F16, BF16   the value
//   Q8_0             d * q          d: f16;    q: 32 signed bytes
//   Q4_0             d * (q - 8)    d: f16;    q: 16 bytes, elements 0-15 low, 16-31 high halves
//   Q4_1             d * q + m      d, m: f16; q: as Q4_0
// REQUIRES: blocks.size() fits out's N elements.
void decode_blocks(ElementType type, std::span<const std::byte> blocks, std::span<float> out_N);

// The inverse for F32, F16, BF16 and Q8_0 (d = max |x| / 127, q = x / d to nearest, halves away
// from zero; d is stored rounded to f16). 16-bit floats are rounded to nearest, ties to even. False
// where a finite value becomes infinite, or Q8_0 would hold one that is not finite. REQUIRES: as
// above.
bool encode_blocks(ElementType type, std::span<const float> in_N, std::span<std::byte> blocks);

}  // namespace frugal
