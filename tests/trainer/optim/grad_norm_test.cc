// The gradient norm of parameters spread over pipeline, data and tensor ranks against one rank.
#include "trainer/optim/grad_norm.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <mutex>
#include <set>

#include "comm/world.h"
#include "tests/support/tensors.h"

namespace frugal::test {
namespace {

constexpr std::int64_t kBlock = 8;
constexpr float kScale = 0.5F;

// Four parameters of uneven sizes. The even ones are sharded over the tensor axis in halves, the
// odd ones replicated; the first two live in the first half of the pipeline.
constexpr int kParams = 4;
constexpr std::array<std::int64_t, kParams> kElements{48, 21, 80, 7};

Owned gradient(int param) {
  return random_tensor({kElements[static_cast<std::size_t>(param)]}, DType::kF32,
                       static_cast<std::uint64_t>(param), 3.0F);
}

double plain_norm() {
  double sum = 0.0;
  for (int p = 0; p < kParams; ++p) {
    const Owned grad = gradient(p);
    for (std::int64_t i = 0; i < grad.get().numel(); ++i) {
      sum += static_cast<double>(grad.at(i)) * static_cast<double>(grad.at(i));
    }
  }
  return std::sqrt(sum) * static_cast<double>(kScale);
}

std::int64_t blocks_of(std::int64_t elements) {
  return (elements + kBlock - 1) / kBlock;
}

// This rank's part of everything; its blocks are dealt to data ranks in turn.
float norm_on(DeviceMesh& mesh, const std::vector<Owned>& gradients) {
  const int tensor = mesh.size(Axis::kTensor), tensor_rank = mesh.coordinate(Axis::kTensor);
  GradNormLayout layout;
  layout.block = kBlock;
  layout.total_params = kParams;
  for (int p = 0; p < kParams; ++p) {
    if (p * mesh.size(Axis::kPipeline) / kParams != mesh.coordinate(Axis::kPipeline)) continue;
    const bool sharded = p % 2 == 0;
    const std::int64_t parts = sharded ? tensor : 1;
    const std::int64_t local = kElements[static_cast<std::size_t>(p)] / parts;
    const std::int64_t begin = sharded ? tensor_rank * local : 0;
    const Tensor own = gradients[static_cast<std::size_t>(p)].get().slice(begin, begin + local);
    const std::int64_t blocks = blocks_of(local);
    layout.params.push_back({.first_block = layout.blocks,
                             .blocks = blocks,
                             .index = p,
                             .counted = sharded || tensor_rank == 0});
    for (std::int64_t b = 0; b < blocks; ++b) {
      if (b % mesh.size(Axis::kData) != mesh.coordinate(Axis::kData)) continue;
      layout.pieces.push_back({.grad_N = own.slice(b * kBlock, std::min((b + 1) * kBlock, local)),
                               .first_block = layout.blocks + b});
    }
    layout.blocks += blocks;
  }
  Arena arena({}, 1 << 16);
  GradNorm norm(std::move(layout), mesh, arena, arena);
  const auto stream = make_stream({}, "test");
  return norm.compute(kScale, *stream);
}

// The results of all ranks; gradients may be spoiled first.
std::set<float> norms(const MeshShape& shape,
                      const std::function<void(std::vector<Owned>&)>& spoil) {
  std::set<float> out;
  std::mutex mutex;
  run_ranks_as_threads(shape.ranks(), [&](std::unique_ptr<ProcessGroup> world) {
    DeviceMesh mesh(std::move(world), shape);
    std::vector<Owned> gradients;
    gradients.reserve(kParams);
    for (int p = 0; p < kParams; ++p) gradients.push_back(gradient(p));
    spoil(gradients);
    const float norm = norm_on(mesh, gradients);
    const std::lock_guard lock(mutex);
    out.insert(std::isfinite(norm) ? norm : -1.0F);
  });
  return out;
}

const auto kLeave = [](std::vector<Owned>&) {};

TEST(GradNorm, IsThatOfAllParametersOnOneRank) {
  const auto alone = norms({}, kLeave);
  ASSERT_EQ(alone.size(), 1U);
  EXPECT_NEAR(*alone.begin(), plain_norm(), 1e-6 * plain_norm());
}

TEST(GradNorm, HasTheSameBitsOnEveryRankOfEveryPipelineAndDataSize) {
  const auto alone = norms({}, kLeave);
  for (const MeshShape& shape :
       {MeshShape{.pipeline = 2}, MeshShape{.pipeline = 4}, MeshShape{.data = 2},
        MeshShape{.data = 3}, MeshShape{.pipeline = 2, .data = 4}}) {
    EXPECT_EQ(norms(shape, kLeave), alone) << shape.pipeline << " x " << shape.data;
  }
}

TEST(GradNorm, CountsReplicatedParametersOnceAcrossTensorRanks) {
  for (const MeshShape& shape :
       {MeshShape{.tensor = 2}, MeshShape{.pipeline = 2, .data = 2, .tensor = 2}}) {
    const auto spread = norms(shape, kLeave);
    ASSERT_EQ(spread.size(), 1U);
    EXPECT_NEAR(*spread.begin(), plain_norm(), 1e-6 * plain_norm());
  }
}

TEST(GradNorm, OneBadElementAnywhereIsSeenEverywhere) {
  for (const float bad : {std::nanf(""), INFINITY}) {
    for (int p = 0; p < kParams; ++p) {
      const auto spread =
          norms({.pipeline = 2, .data = 2, .tensor = 2}, [&](std::vector<Owned>& gradients) {
            gradients[static_cast<std::size_t>(p)].set(5, bad);
          });
      EXPECT_EQ(spread, std::set<float>{-1.0F}) << "parameter " << p;
    }
  }
}

// Skipped updates too are alike on all layouts, whichever element spoiled them.
TEST(GradNorm, ANaNHasOnePattern) {
  run_ranks_as_threads(1, [](std::unique_ptr<ProcessGroup> world) {
    DeviceMesh mesh(std::move(world), {});
    for (const float bad : {std::nanf(""), -std::nanf(""), std::nanf("5")}) {
      std::vector<Owned> gradients;
      for (int p = 0; p < kParams; ++p) gradients.push_back(gradient(p));
      gradients[0].set(1, bad);
      EXPECT_EQ(std::bit_cast<std::uint32_t>(norm_on(mesh, gradients)), 0x7fc00000U);
    }
  });
}

}  // namespace
}  // namespace frugal::test
