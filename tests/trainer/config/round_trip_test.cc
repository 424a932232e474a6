#include <filesystem>
#include <fstream>
#include <set>

#include "tests/trainer/config/config_text.h"
#include "trainer/config/schema.h"

namespace frugal {
namespace {

namespace fs = std::filesystem;

const fs::path kConfigs = fs::path(FRUGAL_SOURCE_DIR) / "configs";

std::vector<fs::path> config_files() {
  std::vector<fs::path> out;
  for (const auto& file : fs::directory_iterator(kConfigs)) {
    if (file.path().extension() == ".yaml") out.push_back(file.path());
  }
  return out;
}

bool equal(const std::vector<DataSourceConfig>& a, const std::vector<DataSourceConfig>& b) {
  return std::ranges::equal(
      a, b, [](const auto& x, const auto& y) { return x.path == y.path && x.weight == y.weight; });
}
template <class T>
bool equal(const T& a, const T& b) {
  return a == b;
}

// NOLINTNEXTLINE(performance-unnecessary-value-param): a key refers to a config that may change
void expect_equal(Config a, Config b) {
  for (const config::Key& key : config::keys()) {
    const bool same = std::visit(
        [&](auto* value) { return equal(*value, *std::get<decltype(value)>(key.value(b))); },
        key.value(a));
    EXPECT_TRUE(same) << key.full_name();
  }
}

TEST(RoundTrip, EveryConfigBeforeAndAfterResolving) {
  const auto files = config_files();
  ASSERT_GE(files.size(), 4U);
  for (const fs::path& file : files) {
    SCOPED_TRACE(file.string());
    Config config = load_config(file.string(), {});
    expect_equal(config, parse(dump_config(config)));
    if (!config.model.init_from.empty()) {  // its model and tokenizer are not here
      config.tokenizer.path = "somewhere";
      adopt_model(config, R"({"model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30,
          "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536,
          "vocab_size": 49152, "rms_norm_eps": 1e-5, "max_position_embeddings": 8192})",
                  "config.json");
    }
    resolve_config(config, 4);
    expect_equal(config, parse(dump_config(config)));
  }
}

TEST(RoundTrip, DebugRunsOnOneRank) {
  Config config = load_config((kConfigs / "debug.yaml").string(), {});
  EXPECT_NO_THROW(resolve_config(config, 1));
  EXPECT_EQ(config.run.name, "debug");
}

TEST(RoundTrip, AwkwardValues) {
  Config config;
  config.run.name = "- a: 'b' \"c\" \\ #d";
  config.run.dir = "\n\t\x01\x7F é日";
  config.tokenizer.path = "null";
  config.seed = ~std::uint64_t{0};
  config.optimizer.learning_rate = 0.1 + 0.2;
  config.optimizer.eps = 1e-300;
  config.optimizer.grad_clip = 1e8;
  config.parallelism.stage_layers = {0, 3};
  config.train.lanes = 4;
  config.data.train = {{.path = "a, b]", .weight = 1.0 / 3}, {.path = "../x", .weight = 2}};
  config.sample.prompts = {"",     "true", "No",   "~", "1e5", "0x1f",       "-",      "[",
                           "a: b", "*x",   "a #b", "{", "..",  "2024-01-01", " x ",    "\\n",
                           "@",    "`",    "%",    "!", "&",   ">",          "a\r\nb", "<<"};
  expect_equal(config, parse(dump_config(config)));
}

TEST(RoundTrip, EveryKeyIsWritten) {
  const std::string text = dump_config(Config{});
  for (const config::Key& key : config::keys()) {
    const std::string indent = key.section.empty() ? "\n" : "\n  ";
    EXPECT_TRUE(says(text, indent + std::string(key.name) + ": "));
  }
  EXPECT_TRUE(says(text, "  eps: 1.0e-08\n"));  // a number for every YAML reader
}

TEST(Reference, ConfigsReadmeIsUpToDate) {
  std::ifstream in(kConfigs / "README.md");
  const std::string written((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  const std::string generated = config_reference_markdown();
  if (written == generated) return;
  const fs::path copy = fs::temp_directory_path() / "frugal-config-reference.md";
  std::ofstream(copy) << generated;
  FAIL() << "configs/README.md does not say what the table of keys says; write it anew:\n"
            "  frugal config reference > configs/README.md\nWhat it should be is in "
         << copy.string();
}

TEST(Reference, EveryConfigFileIsListed) {
  for (const fs::path& file : config_files()) {
    EXPECT_TRUE(says(config_reference_markdown(), "`" + file.filename().string() + "`"));
  }
}

}  // namespace
}  // namespace frugal
