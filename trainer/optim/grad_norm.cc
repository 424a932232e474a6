#include "trainer/optim/grad_norm.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/ops/elementwise.h"
#include "kernels/ops/optimizer.h"

namespace frugal {

GradNorm::GradNorm(GradNormLayout layout, DeviceMesh& mesh, Arena& arena, Arena& host)
    : layout_(std::move(layout)),
      mesh_(mesh),
      blocks_(arena.allocate("gradient norm", {layout_.blocks}, DType::kF32)),
      host_blocks_(host.mirror("gradient norm", blocks_)) {
  const std::int64_t bytes = layout_.total_params * std::int64_t{sizeof(double)};
  const int ranks = std::max(mesh.size(Axis::kPipeline), mesh.size(Axis::kTensor));
  sums_ = arena.allocate("sums of squares", {bytes}, DType::kU8);
  gathered_ = arena.allocate("gathered sums of squares", {ranks * bytes}, DType::kU8);
  host_sums_ = host.mirror("sums of squares", sums_);
  host_gathered_ = host.mirror("gathered sums of squares", gathered_);
}

// Doubles travel as bytes: nothing is added on the way.
void GradNorm::add_over(Axis axis, Stream& stream) {
  const int ranks = mesh_.size(axis);
  const std::int64_t bytes = ranks * sums_.numel();
  ops::copy(stream, sums_, host_sums_);
  mesh_.group(axis).all_gather(sums_, gathered_.slice(0, bytes), stream);
  ops::copy(stream, host_gathered_.slice(0, bytes), gathered_.slice(0, bytes));
  stream.synchronize();
  auto* sums = reinterpret_cast<double*>(host_sums_.data);
  const auto* gathered = reinterpret_cast<const double*>(host_gathered_.data);
  std::fill_n(sums, layout_.total_params, 0.0);
  for (int rank = 0; rank < ranks; ++rank) {
    for (int i = 0; i < layout_.total_params; ++i) sums[i] += *gathered++;
  }
}

float GradNorm::compute(float grad_scale, Stream& stream) {
  ops::fill(stream, blocks_, 0.0F);
  for (const NormPiece& piece : layout_.pieces) {
    const std::int64_t blocks = (piece.grad_N.numel() + layout_.block - 1) / layout_.block;
    ops::block_sum_squares(stream, blocks_.slice(piece.first_block, piece.first_block + blocks),
                           piece.grad_N, layout_.block);
  }
  mesh_.group(Axis::kData).all_reduce(blocks_, ReduceOp::kSum, stream);
  ops::copy(stream, host_blocks_, blocks_);
  stream.synchronize();
  if (stream.planning()) return 0.0F;

  auto* sums = reinterpret_cast<double*>(host_sums_.data);
  std::fill_n(sums, layout_.total_params, 0.0);
  const float* blocks = host_blocks_.as<float>();
  for (const auto& param : layout_.params) {
    if (!param.counted) continue;
    double sum = 0.0;
    for (std::int64_t b = 0; b < param.blocks; ++b)
      sum += static_cast<double>(blocks[param.first_block + b]);
    sums[param.index] = sum;
  }
  for (const Axis axis : {Axis::kPipeline, Axis::kTensor}) add_over(axis, stream);
  const double total = std::accumulate(sums, sums + layout_.total_params, 0.0);
  const auto norm = static_cast<float>(std::sqrt(total) * static_cast<double>(grad_scale));
  // The bits of a NaN are those of one term or another, as the layout has it.
  return std::isnan(norm) ? std::numeric_limits<float>::quiet_NaN() : norm;
}

}  // namespace frugal
