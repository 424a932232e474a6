#include "trainer/engine/algorithm_choices.h"

#include <filesystem>
#include <set>
#include <sstream>
#include <vector>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "kernels/ops/attention_choice.h"
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

// "device; library; product": two separators.
bool is_key(const std::string& key) {
  const std::size_t first = key.find("; ");
  return first != std::string::npos && key.find("; ", first + 2) != std::string::npos;
}

// Keeps what is there already; passes over lines that are none.
void add(AlgorithmChoices& choices, const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t tab = line.find('\t');
    if (tab == std::string::npos || !is_key(line.substr(0, tab))) continue;
    choices.emplace(line.substr(0, tab), line.substr(tab + 1));
  }
}

// By rank: where ranks tell of the same problem the first one holds.
AlgorithmChoices merged(ProcessGroup& world, const AlgorithmChoices& own) {
  AlgorithmChoices all;
  for (const std::string& text : gather_texts(world, to_text(own))) add(all, text);
  return all;
}

// "device; library; product" without the library, and the library.
struct Problem {
  std::string of, library;
  explicit Problem(const std::string& key) {
    const std::size_t begin = key.find("; "), end = key.find("; ", begin + 2);
    of = key.substr(0, begin) + key.substr(end);
    library = key.substr(begin + 2, end - begin - 2);
  }
};

// Which libraries took another's place, "attention by X instead of Y".
std::vector<std::string> replaced_libraries(const AlgorithmChoices& before,
                                            const AlgorithmChoices& products,
                                            const AlgorithmChoices& attention) {
  std::set<std::string> out;
  for (const auto& [key, now] : attention) {
    const auto earlier = before.find(key);
    if (earlier == before.end() || earlier->second == now) continue;
    out.insert(fmt::format("attention by {} instead of {}", now, earlier->second));
  }
  std::map<std::string, std::string> libraries;
  for (const auto& [key, algorithm] : before) {
    const Problem problem(key);
    libraries.emplace(problem.of, problem.library);
  }
  for (const auto& [key, algorithm] : products) {
    const Problem problem(key);
    const auto earlier = libraries.find(problem.of);
    if (before.contains(key) || earlier == libraries.end()) continue;
    out.insert(fmt::format("products by {} instead of {}", problem.library, earlier->second));
  }
  return {out.begin(), out.end()};
}

}  // namespace

std::string choose_algorithms_once(const Config& config, ProcessGroup& world, Device device,
                                   const std::string& path) {
  if (on_host(device)) return "";
  std::string before;
  if (world.rank() == 0 && std::filesystem::exists(path)) before = MappedFile(path).text();
  before = broadcast_text(world, before);
  AlgorithmChoices own;
  add(own, before);
  const MemoryPlan plan = RankModel::plan(config, world.rank(), device);
  cu::choose_algorithms(device, plan.products, own);

  // Ranks with the same product have measured it each for itself.
  AlgorithmChoices all = merged(world, own);
  AlgorithmChoices common;
  add(common, broadcast_text(world, to_text(all)));
  cu::choose_algorithms(device, plan.products, common);

  const AlgorithmChoices attention = merged(world, cu::attention_choices(device, plan.attentions));
  if (world.rank() != 0) return "";
  AlgorithmChoices earlier;
  add(earlier, before);
  const auto replaced = replaced_libraries(earlier, all, attention);
  for (const auto& [problem, implementation] : attention) {
    all.insert_or_assign(problem, implementation);
  }
  if (const std::string after = to_text(all); after != before) replace_file(path, after);
  if (replaced.empty()) return "";
  return fmt::format("{}: from here on the bits are others than this run began with",
                     fmt::join(replaced, ", "));
}

}  // namespace frugal
