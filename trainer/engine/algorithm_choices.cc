#include "trainer/engine/algorithm_choices.h"

#include <filesystem>
#include <sstream>

#include "kernels/ops/product.h"
#include "trainer/checkpoint/agreement.h"
#include "trainer/data/files.h"
#include "trainer/engine/rank_model.h"
#include "trainer/metrics/replace_file.h"

namespace frugal {
namespace {

// A line for each choice: the product, a tab, the algorithm.
std::string to_text(const AlgorithmChoices& choices) {
  std::string out;
  for (const auto& [product, algorithm] : choices) out += concat(product, "\t", algorithm, "\n");
  return out;
}

// Keeps what is there already; passes over lines that are none.
void add(AlgorithmChoices& choices, const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t tab = line.find('\t');
    if (tab != std::string::npos) choices.emplace(line.substr(0, tab), line.substr(tab + 1));
  }
}

}  // namespace

void choose_algorithms_once(const Config& config, ProcessGroup& world, Device device,
                            const std::string& path) {
  if (on_host(device)) return;
  std::string before;
  if (world.rank() == 0 && std::filesystem::exists(path)) before = MappedFile(path).text();
  before = broadcast_text(world, before);
  AlgorithmChoices own;
  add(own, before);
  const MemoryPlan plan = RankModel::plan(config, world.rank(), device);
  cu::choose_algorithms(device, plan.products, own);

  // Ranks with the same product have measured it each for itself: the first one's choice holds.
  AlgorithmChoices all;
  for (const std::string& text : gather_texts(world, to_text(own))) add(all, text);
  const std::string after = broadcast_text(world, to_text(all));
  AlgorithmChoices common;
  add(common, after);
  cu::choose_algorithms(device, plan.products, common);
  if (world.rank() == 0 && after != before) replace_file(path, after);
}

}  // namespace frugal
