#include "trainer/engine/run_identity.h"

#include <algorithm>
#include <array>
#include <sstream>

#include "kernels/core/check.h"
#include "trainer/checkpoint/weight_set.h"

namespace frugal {

std::map<std::string, std::string> flat_config(const std::string& yaml) {
  std::map<std::string, std::string> out;
  std::istringstream in(yaml);
  std::string section;
  for (std::string line; std::getline(in, line);) {
    const auto begin = line.find_first_not_of(' ');
    if (begin == std::string::npos || line[begin] == '#') continue;
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(begin, colon - begin);
    const auto value = line.find_first_not_of(' ', colon + 1);
    if (begin == 0) section = value == std::string::npos ? key + "." : "";
    if (value != std::string::npos) {
      out[(begin == 0 ? "" : section) + key] = line.substr(value);
    }
  }
  return out;
}

std::map<std::string, std::string> run_identity(const Config& config, const RunDigests& digests) {
  constexpr std::array<std::string_view, 8> kFixed{"seed",
                                                   "batch.micro_batch_size",
                                                   "batch.global_batch_size",
                                                   "data.sequence_length",
                                                   "data.document_mask",
                                                   "precision.compute",
                                                   "precision.master",
                                                   "precision.optimizer_state"};
  const bool lora = config.lora.rank > 0;
  std::map<std::string, std::string> out;
  for (const auto& [key, value] : flat_config(dump_config(config))) {
    const bool fixed = std::ranges::find(kFixed, key) != kFixed.end();
    const bool model = key.starts_with("model.") || (lora && key.starts_with("lora."));
    if (fixed || (model && !key.ends_with(".init_from"))) out[key] = value;
  }
  out["tokenizer"] = digests.tokenizer;
  out["data"] = digests.data;
  if (lora) out[kBaseIdentity] = digests.base;
  out["train.lanes"] = config.train.determinism == "ordered"
                           ? std::to_string(config.train.lanes.value_or(0))
                           : "any (train.determinism is not ordered)";
  return out;
}

std::vector<std::string> config_changes(const std::string& old_yaml, const std::string& new_yaml) {
  const auto before = flat_config(old_yaml), after = flat_config(new_yaml);
  std::vector<std::string> out;
  for (const auto& [key, value] : after) {
    const auto old = before.find(key);
    if (old != before.end() && old->second != value) {
      out.push_back(concat(key, " ", old->second, " -> ", value));
    }
  }
  return out;
}

std::string layout_text(const ParallelismConfig& p) {
  return concat("data ", p.data.value_or(1), " x pipeline ", p.pipeline, " x tensor ", p.tensor,
                ", ", p.schedule, ", zero ", p.zero_stage);
}

}  // namespace frugal
