#include "fmt/format.h"
#include "kernels/core/check.h"
#include "nlohmann/json.hpp"
#include "trainer/metrics/metrics.h"
#include "trainer/metrics/replace_file.h"

namespace frugal {

void write_run_info(const std::string& run_dir, const RunInfo& info) {
  nlohmann::ordered_json object;
  object["state"] = info.state;
  object["exit_code"] = nullptr;
  if (info.exit_code) object["exit_code"] = *info.exit_code;
  for (const auto& [name, value] : info.facts) {
    FRUGAL_CHECK(!object.contains(name), "fact named ", name);
    object[name] = value;
  }
  using Json = nlohmann::ordered_json;
  replace_file(fmt::format("{}/run.json", run_dir),
               object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace frugal
