// A config.json of Hugging Face below `model:`. What changes nothing here is passed over, from a
// closed list; what would change the mathematics is refused with the reason.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "trainer/config/yaml_tree.h"

namespace frugal::config {

// The section's keys under our names: GPT-2's own names renamed, rope_scaling and rope_parameters
// replaced by the rope_... keys, fields without effect and nulls that mean "the default" left out.
// Unknown keys stay, for the caller to report. model_type: of the whole config.
std::vector<Entry> translate_model(const Node& section, std::string_view model_type,
                                   Problems& problems);

// What every model of a family has, unless the config says otherwise; what it always has, whatever
// the config says: a key that says otherwise is a problem.
void complete_family(Config& config, Problems& problems);

// Fields that are accepted with any value, for the reference.
std::vector<std::string_view> fields_without_effect();
// "n_embd" and "hidden_size": names of a gpt2 config.json that are read, and ours.
struct Rename {
  std::string_view theirs, ours;
};
std::vector<Rename> gpt2_names();

}  // namespace frugal::config
