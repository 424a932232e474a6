// The ranks as a grid. Say "axis" for the mesh and "dimension" for tensors, always.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "comm/process_group.h"

namespace frugal {

enum class Axis : std::uint8_t { kPipeline, kData, kContext, kTensor, kExpert };
inline constexpr int kAxes = 5;

struct MeshShape {
  int pipeline = 1, data = 1, context = 1, tensor = 1, expert = 1;
  int size(Axis axis) const;
  // Ranks needed. Experts are laid over the data, context and tensor axes, so they add none.
  int ranks() const { return pipeline * data * context * tensor; }
};

// Rank order, slowest axis first: pipeline, data, context, tensor. Tensor neighbours, who talk
// most, are adjacent ranks and so share a host; pipeline neighbours, who talk least, are farthest
// apart. A group along an axis holds the ranks that agree in every other coordinate, ordered by
// their coordinate on it. Owns the world and the groups. One thread per rank.
class DeviceMesh {
 public:
  // Collective. Throws Error(kPreflight) when the world does not have shape.ranks() ranks, naming
  // the product expected; shape.expert must be 1 until experts exist.
  DeviceMesh(std::unique_ptr<ProcessGroup> world, MeshShape shape);

  // The mesh as rank world_rank would see it, with planning groups: nothing communicates.
  DeviceMesh(MeshShape shape, int world_rank);

  ProcessGroup& world() { return *world_; }
  ProcessGroup& group(Axis axis) { return *groups_[static_cast<std::size_t>(axis)]; }
  int size(Axis axis) const { return shape_.size(axis); }
  int coordinate(Axis axis) const { return coordinates_[static_cast<std::size_t>(axis)]; }
  // The world rank at this rank's position, moved to `coordinate` along one axis.
  int world_rank(Axis axis, int coordinate) const;
  const MeshShape& shape() const { return shape_; }

 private:
  std::unique_ptr<ProcessGroup> world_;
  MeshShape shape_;
  std::array<int, kAxes> coordinates_{};
  std::array<std::unique_ptr<ProcessGroup>, kAxes> groups_;
};

}  // namespace frugal
