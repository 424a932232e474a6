#include "comm/planning_group.h"

namespace frugal {
namespace {

class PlanningGroup final : public ProcessGroup {
 public:
  PlanningGroup(int rank, int size) : rank_(rank), size_(size) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void all_reduce(Tensor, ReduceOp, Stream& stream) override { check(stream); }
  void all_gather(ConstTensor, Tensor, Stream& stream) override { check(stream); }
  void reduce_scatter(ConstTensor, Tensor, ReduceOp, Stream& stream) override { check(stream); }
  void all_to_all(ConstTensor, Tensor, std::span<const std::int64_t>, std::span<const std::int64_t>,
                  Stream& stream) override {
    check(stream);
  }
  void broadcast(Tensor, int, Stream& stream) override { check(stream); }
  void exchange(std::span<const PeerTransfer>, Stream& stream) override { check(stream); }
  void host_barrier() override {}
  std::unique_ptr<ProcessGroup> split(int, int) override {
    FRUGAL_CHECK(false, "a planning group has no peers to split from");
    return nullptr;
  }

 private:
  static void check(const Stream& stream) {
    FRUGAL_CHECK(stream.planning(), "a planning group was asked to communicate");
  }

  int rank_;
  int size_;
};

}  // namespace

std::unique_ptr<ProcessGroup> make_planning_group(int rank, int size) {
  return std::make_unique<PlanningGroup>(rank, size);
}

}  // namespace frugal
