#include "trainer/engine/memory_check.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "kernels/core/device_runtime.h"
#include "kernels/ops/op_table.h"
#include "trainer/engine/host.h"
#include "trainer/engine/plan_report.h"
#include "trainer/engine/rank_model.h"

namespace frugal {
namespace {

// The driver loads kernels when they are first used.
constexpr std::size_t kDriverBytes = std::size_t{256} << 20U;

std::size_t on_device(const MemoryPlan& plan, Device device) {
  return plan.total() + (on_host(device) ? plan.host_total() : 0);
}

std::string largest_part(const MemoryPlan& plan) {
  const std::array<std::pair<std::size_t, const char*>, 6> parts{
      {{plan.weights, "weights"},
       {plan.gradients, "gradients"},
       {plan.optimizer, "optimizer state"},
       {plan.activations, "activations"},
       {plan.workspace, "workspace"},
       {plan.op_buffers, "buffers of ops and groups"}}};
  const auto& largest = *std::ranges::max_element(parts);
  return fmt::format("{}, {}", largest.second, bytes_text(largest.first));
}

// Half of the micro-batches' size, while that divides what a rank has in a step.
bool halve(Config& config) {
  if (config.batch.micro_batch_size % 2 != 0) return false;
  config.batch.micro_batch_size /= 2;
  return true;
}

void require_room(const Config& config, int world_rank, Device device, std::size_t free,
                  int sharing, const std::string& where) {
  const MemoryPlan plan = RankModel::plan(config, world_rank, device);
  const std::size_t needed = on_device(plan, device) * static_cast<std::size_t>(sharing);
  if (needed <= free) return;
  const std::string settings =
      settings_that_fit(config, world_rank, device, free / static_cast<std::size_t>(sharing));
  fail(ErrorKind::kPreflight, "the run needs about ", bytes_text(needed), " on ", where, " (",
       sharing, sharing == 1 ? " rank" : " ranks", "), where ", bytes_text(free),
       " are free; the largest part of a rank is ", largest_part(plan), "; ",
       settings.empty() ? "no smaller micro-batch fits: use more ranks (parallelism.pipeline) or a "
                          "smaller model"
                        : concat("what fits: ", settings),
       " (--dry-run shows what takes it)");
}

}  // namespace

std::string settings_that_fit(const Config& config, int world_rank, Device device,
                              std::size_t bytes) {
  std::vector<std::string> found;
  for (const bool recompute : {false, true}) {
    Config tried = config;
    if (recompute) tried.memory.recompute = "full";
    // Unchanged does not fit.
    bool changed = tried.memory.recompute != config.memory.recompute;
    if (recompute && !changed) break;
    do {
      const std::size_t needed = on_device(RankModel::plan(tried, world_rank, device), device);
      if (changed && needed <= bytes) {
        found.push_back(fmt::format(
            "{}{}({})",
            tried.batch.micro_batch_size == config.batch.micro_batch_size
                ? ""
                : fmt::format("batch.micro_batch_size={} ", tried.batch.micro_batch_size),
            recompute ? "memory.recompute=full " : "", bytes_text(needed)));
        break;
      }
      changed = true;
    } while (halve(tried));
  }
  return fmt::format("{}", fmt::join(found, ", or "));
}

void check_memory(const Config& config, int world_rank, const RankPlace& place, Device device) {
  const std::size_t host = usable_memory_bytes();
  if (on_host(device)) {
    return require_room(config, world_rank, device, host, place.local_size, "this host");
  }
  const DeviceInfo info = device_runtime(device.type).info(device);
  const int gpus = cu::device_count();  // which the ranks of a process share
  require_room(
      config, world_rank, device, info.free_bytes - std::min(info.free_bytes, kDriverBytes),
      (place.process_ranks + gpus - 1) / gpus, fmt::format("GPU {} ({})", device.index, info.name));
  const std::size_t beside = RankModel::plan(config, world_rank, device).host_total() *
                             static_cast<std::size_t>(place.local_size);
  if (beside <= host) return;
  fail(ErrorKind::kPreflight, "the run needs about ", bytes_text(beside), " of this host's ",
       bytes_text(host), " beside its GPUs; use more hosts");
}

}  // namespace frugal
