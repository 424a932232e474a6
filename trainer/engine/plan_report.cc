#include "trainer/engine/plan_report.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <tuple>

#include "fmt/format.h"
#include "trainer/engine/rank_model.h"
#include "trainer/engine/rank_place.h"
#include "trainer/engine/run_identity.h"
#include "trainer/metrics/flops.h"
#include "trainer/shard/stage_split.h"

namespace frugal {
namespace {

constexpr int kDrawnColumns = 120;
constexpr int kDrawnMicrobatches = 12;

// Of memory beside the device there is a column only where it is not the device's.
std::string memory_table(const Config& config, int ranks) {
  // Also on a machine that lacks it.
  const Device device =
      config.device == "cuda" ? Device{DeviceType::kCuda} : rank_device(config, {});
  std::string out = fmt::format("{:>10}{:>12}{:>12}{:>12}{:>13}{:>12}{:>12}\n", "rank", "weights",
                                "gradients", "optimizer", "activations", "workspace", "total");
  if (!on_host(device)) out.insert(out.size() - 1, fmt::format("{:>12}", "host"));
  const auto row = [&](int rank) {
    const MemoryPlan p = RankModel::plan(config, rank, device);
    return fmt::format("{:>12}{:>12}{:>12}{:>13}{:>12}{:>12}", bytes_text(p.weights),
                       bytes_text(p.gradients), bytes_text(p.optimizer), bytes_text(p.activations),
                       bytes_text(p.workspace + p.op_buffers), bytes_text(p.total())) +
           (on_host(device) ? "" : fmt::format("{:>12}", bytes_text(p.host_total())));
  };
  for (int rank = 0; rank < ranks;) {
    const std::string text = row(rank);
    int last = rank;
    while (last + 1 < ranks && row(last + 1) == text) ++last;
    out += fmt::format("{:>10}",
                       last > rank ? fmt::format("{}-{}", rank, last) : fmt::format("{}", rank)) +
           text + "\n";
    rank = last + 1;
  }
  return out;
}

std::string schedule_part(const Config& config) {
  const ParallelismConfig& p = config.parallelism;
  const int microbatches =
      config.batch.global_batch_size / config.batch.micro_batch_size / p.data.value_or(1);
  const ModelDimensions dims = model_dimensions(config, 0);
  const std::vector<StageRange> ranges = split_stages(dims, p);
  std::vector<ActionCosts> costs;
  for (const double cost : stage_costs(dims, ranges)) costs.push_back({cost, cost, cost, 0});
  const Schedule whole =
      insert_transfers(make_schedule(p.schedule, p.pipeline, microbatches, p.stages_per_rank));
  const double bubble = simulate(whole, costs).bubble();
  int drawn = std::min(microbatches, kDrawnMicrobatches);
  if (drawn < microbatches) drawn -= drawn % p.pipeline;  // interleaving needs a multiple
  drawn = std::max(drawn, std::min(microbatches, p.pipeline));
  std::string out = fmt::format("schedule {}: {} stages, {} micro-batches per step", p.schedule,
                                ranges.size(), microbatches);
  out += drawn < microbatches ? fmt::format(" (drawn with {})\n", drawn) : "\n";
  out += draw(
      simulate(insert_transfers(make_schedule(p.schedule, p.pipeline, drawn, p.stages_per_rank)),
               costs),
      kDrawnColumns);
  return out + fmt::format("predicted bubble: {:.1f} % of the ranks' time\n", 100 * bubble);
}

}  // namespace

std::string bytes_text(std::size_t bytes) {
  constexpr std::array<const char*, 6> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits.at(unit));
}

std::string parameters_text(const Config& config) {
  const auto millions = [](std::int64_t count) { return static_cast<double>(count) * 1e-6; };
  const std::int64_t base = parameter_count(config.model);
  if (config.lora.rank == 0) return fmt::format("{:.2f}M parameters", millions(base));
  const std::int64_t trained = trained_parameter_count(config.model, config.lora);
  return fmt::format("{:.2f}M parameters, of which {:.2f}M are trained (LoRA)",
                     millions(base + trained), millions(trained));
}

std::string plan_report(const Config& config) {
  const ParallelismConfig& p = config.parallelism;
  const int ranks = p.data.value_or(1) * p.pipeline * p.context * p.tensor;
  std::string out = fmt::format("run {}: {}, {}\nlayout: {} ({})\n", config.run.name,
                                parameters_text(config), config.precision.compute, layout_text(p),
                                ranks == 1 ? "1 rank" : fmt::format("{} ranks", ranks));
  out += fmt::format("step: {} sequences of {} tokens, micro-batches of {}\n",
                     config.batch.global_batch_size, config.data.sequence_length,
                     config.batch.micro_batch_size);
  return out + "memory by rank:\n" + memory_table(config, ranks) + schedule_part(config);
}

}  // namespace frugal
