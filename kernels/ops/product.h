// Which matrix products a run needs, so that a device can choose their algorithms by measurement
// before the run takes its memory.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "kernels/core/device.h"
#include "kernels/ops/matmul.h"

namespace frugal {

// Device memory that a library may use for one product, kept by the stream.
inline constexpr std::size_t kProductScratchBytes = std::size_t{32} << 20U;

// The same for one attention. Beside it the library takes a number in f32 for each row and head.
inline constexpr std::size_t kAttentionScratchBytes = std::size_t{256} << 20U;

// What a product has to do with GELU.
enum class GeluUse : std::uint8_t { kNone, kForward, kDerivative };

// A product as far as the choice of its algorithm goes.
struct Product {
  DType in = DType::kF32, out = DType::kF32;
  std::int64_t m = 0, n = 0, k = 0;  // out is [m, n], the inner dimension k
  bool transpose_a = false, transpose_b = false, accumulate = false, bias = false, add = false;
  GeluUse gelu = GeluUse::kNone;
  bool tf32 = false;
  int alignment = 16;                                // bytes that divide every address, at most 16
  auto operator<=>(const Product&) const = default;  // NOLINT(modernize-use-nullptr)
};
// alignment: 16 where the tensors have no memory.
Product product_of(const MatmulArgs& args);
// "bf16 -> f32, 4096 x 768 x 3072, a transposed, accumulated": one line, the same for equal ones.
std::string text_of(const Product& product);

// While it lives, the products that the calling thread plans are put into `products`. One at a time
// on a thread.
class ProductCollector {
 public:
  explicit ProductCollector(std::set<Product>& products);
  ~ProductCollector();
  ProductCollector(const ProductCollector&) = delete;
  ProductCollector& operator=(const ProductCollector&) = delete;
};
// For ops::matmul. With GELU also the product without, for devices that compute one after the
// other.
void collect(const MatmulArgs& args);

// The algorithms that were chosen, kept with a run so that a resume computes the same bits: from
// "device; library; product" to the library's own description. Both are printable, one line each.
using AlgorithmChoices = std::map<std::string, std::string>;

namespace cu {
// Makes the device's library use, from now on and in the whole process, the algorithm in `choices`
// for each product, or, where that has none, the fastest of those that the library proposes: timed
// on random data in memory that is free again on return, and added to choices. Blocks. Does nothing
// where the library is missing or takes none of the product's types.
void choose_algorithms(Device device, const std::set<Product>& products, AlgorithmChoices& choices);
}  // namespace cu

}  // namespace frugal
