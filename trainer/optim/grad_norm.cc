#include "trainer/optim/grad_norm.h"

#include <cmath>
#include <cstring>

#include "kernels/ops/elementwise.h"
#include "kernels/ops/optimizer.h"

namespace frugal {

GradNorm::GradNorm(GradNormLayout layout, DeviceMesh& mesh, Arena& arena)
    : layout_(std::move(layout)),
      mesh_(mesh),
      blocks_(arena.allocate("gradient norm", {layout_.blocks}, DType::kF32)) {}

std::vector<std::vector<double>> GradNorm::gather(const std::vector<double>& own, Axis axis,
                                                  Stream& stream) {
  const auto size = static_cast<std::size_t>(mesh_.size(axis));
  std::vector<double> all(own.size() * size);
  // Doubles travel as bytes: nothing is added on the way.
  const auto bytes = static_cast<std::int64_t>(own.size() * sizeof(double));
  std::vector<double> sent = own;
  const Tensor from{reinterpret_cast<std::byte*>(sent.data()), {bytes}, DType::kU8, {}};
  const Tensor to{
      reinterpret_cast<std::byte*>(all.data()), {bytes * mesh_.size(axis)}, DType::kU8, {}};
  mesh_.group(axis).all_gather(from, to, stream);
  stream.synchronize();
  std::vector<std::vector<double>> out;
  for (std::size_t r = 0; r < size; ++r) {
    out.emplace_back(all.begin() + static_cast<std::ptrdiff_t>(r * own.size()),
                     all.begin() + static_cast<std::ptrdiff_t>((r + 1) * own.size()));
  }
  return out;
}

float GradNorm::compute(float grad_scale, Stream& stream) {
  ops::fill(stream, blocks_, 0.0F);
  for (const NormPiece& piece : layout_.pieces) {
    const std::int64_t blocks = (piece.grad_N.numel() + layout_.block - 1) / layout_.block;
    ops::block_sum_squares(stream, blocks_.slice(piece.first_block, piece.first_block + blocks),
                           piece.grad_N, layout_.block);
  }
  mesh_.group(Axis::kData).all_reduce(blocks_, ReduceOp::kSum, stream);
  stream.synchronize();
  if (stream.planning()) return 0.0F;

  std::vector<double> sums(static_cast<std::size_t>(layout_.total_params), 0.0);
  const float* blocks = blocks_.as<float>();
  for (const auto& param : layout_.params) {
    if (!param.counted) continue;
    double sum = 0.0;
    for (std::int64_t b = 0; b < param.blocks; ++b)
      sum += static_cast<double>(blocks[param.first_block + b]);
    sums[static_cast<std::size_t>(param.index)] = sum;
  }
  for (const Axis axis : {Axis::kPipeline, Axis::kTensor}) {
    const auto rows = gather(sums, axis, stream);
    for (std::size_t i = 0; i < sums.size(); ++i) {
      sums[i] = 0.0;
      for (const auto& row : rows) sums[i] += row[i];
    }
  }
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return static_cast<float>(std::sqrt(total) * static_cast<double>(grad_scale));
}

}  // namespace frugal
