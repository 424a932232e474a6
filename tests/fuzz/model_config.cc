// Any bytes as the config.json that model.init_from brings: adopted and resolved, or refused.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "trainer/config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace frugal;
  Config config;
  try {
    adopt_model(config, {reinterpret_cast<const char*>(data), size}, "config.json");
    config.model.vocab_size = config.model.vocab_size.value_or(1);
    resolve_config(config, 1);
  } catch (const ConfigError&) {
    return 0;
  }
  // What was accepted can be written and read again, and is the same model.
  Config again = parse_config(dump_config(config), "config.yaml", {});
  resolve_config(again, 1);
  if (dump_config(again) != dump_config(config)) std::abort();
  return 0;
}
