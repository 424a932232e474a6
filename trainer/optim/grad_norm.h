// The global gradient norm, with bits that do not depend on the data-parallel size or the pipeline
// split.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/device_mesh.h"
#include "kernels/core/arena.h"

namespace frugal {

// A run of whole blocks (the last may be short) of one parameter's gradient that this rank owns.
struct NormPiece {
  ConstTensor grad_N;            // f32
  std::int64_t first_block = 0;  // its place among all blocks of this rank's stages
};

struct GradNormLayout {
  std::vector<NormPiece> pieces;
  struct Param {
    std::int64_t first_block = 0, blocks = 0;
    int index = 0;  // global order
    // False: another tensor rank counts this replicated parameter, or it is a tied copy.
    bool counted = true;
  };
  std::vector<Param> params;  // all parameters of this rank's stages
  std::int64_t blocks = 0;    // sum over params
  int total_params = 0;       // of the whole model
  std::int64_t block = 4096;  // elements
};

// Sums of squares of fixed blocks, in double, are put side by side over the data axis (every block
// is owned once, so adding the others' zeros is exact), added in block order per parameter, then in
// parameter order over pipeline and tensor ranks.
class GradNorm {
 public:
  // host: for what the host reads and writes (Arena::mirror).
  GradNorm(GradNormLayout layout, DeviceMesh& mesh, Arena& arena, Arena& host);

  // The norm of grad_scale * gradient. Waits for the result: same value on every rank. Collective.
  float compute(float grad_scale, Stream& stream);

 private:
  // Replaces the host's sums by their sums over an axis, in rank order. Waits.
  void add_over(Axis axis, Stream& stream);

  GradNormLayout layout_;
  DeviceMesh& mesh_;
  Tensor blocks_, host_blocks_;      // f32 [blocks]
  Tensor sums_, host_sums_;          // doubles by parameter of the whole model, as bytes
  Tensor gathered_, host_gathered_;  // the same of every rank of an axis
};

}  // namespace frugal
