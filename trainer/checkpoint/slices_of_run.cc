#include "kernels/core/check.h"
#include "trainer/checkpoint/checkpoint.h"

namespace frugal {
namespace {

class RunCutter {
 public:
  explicit RunCutter(const TensorRun& run) : run_(run) {}

  // Cuts elements [begin, end) of the sub-box that has the sizes of `row` in dimensions before
  // `dimension` (all 1) and the whole extent after it.
  void cut(int dimension, std::int64_t begin, std::int64_t end) {
    if (begin == end) return;
    if (dimension == run_.extent.rank) return emit(dimension, 0, 1);  // a scalar
    std::int64_t row = 1;  // elements of one row of this dimension
    for (int d = dimension + 1; d < run_.extent.rank; ++d) row *= run_.extent[d];
    const std::int64_t whole_begin = (begin + row - 1) / row;
    const std::int64_t whole_end = end / row;
    if (whole_begin > whole_end) {  // inside one row
      descend(dimension, whole_end, begin - whole_end * row, end - whole_end * row);
      return;
    }
    descend(dimension, whole_begin - 1, begin - (whole_begin - 1) * row, row);
    emit(dimension, whole_begin, whole_end);
    descend(dimension, whole_end, 0, end - whole_end * row);
  }

  std::vector<TensorSlice> slices;

 private:
  void descend(int dimension, std::int64_t row, std::int64_t begin, std::int64_t end) {
    position_[static_cast<std::size_t>(dimension)] = row;
    if (end > begin) cut(dimension + 1, begin, end);
    position_[static_cast<std::size_t>(dimension)] = 0;
  }

  void emit(int dimension, std::int64_t begin, std::int64_t end) {
    if (begin == end) return;
    TensorSlice slice{run_.name, run_.global, run_.offset, run_.local};
    slice.local.shape = run_.extent;
    for (int d = 0; d < run_.extent.rank; ++d) {
      const auto i = static_cast<std::size_t>(d);
      if (d < dimension) slice.local.shape.dim[i] = 1;
      if (d == dimension) slice.local.shape.dim[i] = end - begin;
      slice.offset[i] += d == dimension ? begin : position_[i];
    }
    slice.local.data = run_.local.data + bytes_;
    bytes_ += slice.local.bytes();
    slices.push_back(slice);
  }

  const TensorRun& run_;
  std::array<std::int64_t, 4> position_{};
  std::size_t bytes_ = 0;
};

}  // namespace

std::vector<TensorSlice> slices_of_run(const TensorRun& run) {
  FRUGAL_CHECK(0 <= run.begin && run.begin <= run.end && run.end <= run.extent.numel(), run.name,
               ": run [", run.begin, ", ", run.end, ") of ", to_string(run.extent));
  FRUGAL_CHECK(run.local.numel() == run.end - run.begin, run.name, ": ", run.local.numel(),
               " elements for a run of ", run.end - run.begin);
  RunCutter cutter(run);
  cutter.cut(0, run.begin, run.end);
  return cutter.slices;
}

}  // namespace frugal
