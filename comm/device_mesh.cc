#include "comm/device_mesh.h"

#include "comm/planning_group.h"

namespace frugal {
namespace {

constexpr std::array<Axis, kAxes> kEveryAxis{Axis::kPipeline, Axis::kData, Axis::kContext,
                                             Axis::kTensor, Axis::kExpert};

std::array<int, kAxes> coordinates_of(const MeshShape& shape, int rank) {
  std::array<int, kAxes> out{};
  const auto take = [&](Axis axis) {
    out[static_cast<std::size_t>(axis)] = rank % shape.size(axis);
    rank /= shape.size(axis);
  };
  take(Axis::kTensor);
  take(Axis::kContext);
  take(Axis::kData);
  take(Axis::kPipeline);
  return out;
}

int rank_at(const MeshShape& shape, const std::array<int, kAxes>& coordinates) {
  const auto at = [&](Axis axis) { return coordinates[static_cast<std::size_t>(axis)]; };
  return ((at(Axis::kPipeline) * shape.data + at(Axis::kData)) * shape.context +
          at(Axis::kContext)) *
             shape.tensor +
         at(Axis::kTensor);
}

}  // namespace

int MeshShape::size(Axis axis) const {
  switch (axis) {
    case Axis::kPipeline:
      return pipeline;
    case Axis::kData:
      return data;
    case Axis::kContext:
      return context;
    case Axis::kTensor:
      return tensor;
    case Axis::kExpert:
      return expert;
  }
  return 1;
}

DeviceMesh::DeviceMesh(std::unique_ptr<ProcessGroup> world, MeshShape shape)
    : world_(std::move(world)), shape_(shape), coordinates_(coordinates_of(shape, world_->rank())) {
  FRUGAL_CHECK(shape.expert == 1, "the expert axis is not built yet");
  if (world_->size() != shape.ranks()) {
    fail(ErrorKind::kPreflight, "the layout needs ", shape.ranks(), " ranks (pipeline ",
         shape.pipeline, " x data ", shape.data, " x context ", shape.context, " x tensor ",
         shape.tensor, "), the job has ", world_->size(), ": start it with 'mpirun -np ",
         shape.ranks(), "' or change parallelism");
  }
  for (const Axis axis : kEveryAxis) {
    // The ranks that differ in this coordinate alone have the same rank at coordinate 0.
    groups_[static_cast<std::size_t>(axis)] = world_->split(world_rank(axis, 0), coordinate(axis));
  }
}

DeviceMesh::DeviceMesh(MeshShape shape, int world_rank)
    : world_(make_planning_group(world_rank, shape.ranks())),
      shape_(shape),
      coordinates_(coordinates_of(shape, world_rank)) {
  for (const Axis axis : kEveryAxis) {
    groups_[static_cast<std::size_t>(axis)] = make_planning_group(coordinate(axis), size(axis));
  }
}

int DeviceMesh::world_rank(Axis axis, int coordinate) const {
  if (axis == Axis::kExpert) return rank_at(shape_, coordinates_);
  auto moved = coordinates_;
  moved[static_cast<std::size_t>(axis)] = coordinate;
  return rank_at(shape_, moved);
}

}  // namespace frugal
