// What YAML readers disagree about, and what is too large.
#include <fstream>
#include <random>

#include "tests/trainer/config/config_text.h"
#include "trainer/config/yaml_tree.h"

namespace frugal {
namespace {

TEST(Yaml, Refused) {
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"seed: 1\nseed: 2", "a.yaml:2:1: key 'seed' is set twice, first in line 1; remove one"},
           {"train: {steps: 1, steps: 2}", "key 'steps' is set twice"},
           {"seed: &a 1", "anchors (&name) are not read"},
           {"seed: &a 1\nrun: {name: *a}", "aliases (*name) are not read"},
           {"run: {name: *a}", "aliases (*name) are not read"},
           {"train:\n  <<: {steps: 1}", "a.yaml:2:3: merge keys (<<) are not read"},
           {"seed: !!int 1", "tags (tag:yaml.org,2002:int) are not read"},
           {"seed: !mine 1", "tags (!mine) are not read"},
           {"train:\n\tsteps: 1", "a.yaml:2:1: a tab indents this line; use spaces"},
           {"train:\n  \tsteps: 1", "a.yaml:2:3: a tab indents this line"},
           {"seed: 1\n---\nseed: 2", "a second document starts here"},
           {"? [a]\n: 1", "a key must be a name"},
           {"train: {steps: 1", "a '{' before here is not closed with '}'"},
           {"data: {train: [a}", "not valid YAML near here"},
           {"run: {name: \"a}", "a quoted text is not closed"},
           {"train:\n  steps: 1\n eps: 2", "the indentation does not fit"},
           {std::string("seed: 1\0", 8), "line 1 holds a byte that no text has"},
           {"seed: 1\n\xFF\xFE", "line 2 holds a byte that no text has"},
       }) {
    EXPECT_TRUE(says(problems_of(text), part)) << text;
  }
}

TEST(Yaml, ATabInsideALineIsSpace) {
  EXPECT_EQ(problems_of("seed: 1\t# one"), "");
}

TEST(Yaml, ColumnsCountCharacters) {
  EXPECT_TRUE(problems_of("run: {name: \"é日\", x: 1}").starts_with("a.yaml:1:19: "))
      << problems_of("run: {name: \"é日\", x: 1}");
}

TEST(Yaml, LongLinesAndValuesAreCut) {
  const std::string message =
      problems_of("run: {name: \"" + std::string(3000, 'a') + "\", zzzzzz: 1}");
  EXPECT_LT(message.size(), 1200U);
}

std::string nested(int depth) {  // of lists, in a map
  return "x: " + std::string(static_cast<std::size_t>(depth), '[') +
         std::string(static_cast<std::size_t>(depth), ']');
}

TEST(Yaml, LimitsAreExact) {
  const auto too_large = [](const std::string& text) {
    return problems_of(text).find("this is not a config") != std::string::npos;
  };
  EXPECT_FALSE(too_large(nested(config::kDeepest - 1)));
  EXPECT_TRUE(too_large(nested(config::kDeepest)));
  EXPECT_TRUE(too_large(nested(200000)));

  const auto list = [](int items) {  // nodes: map, key, list and items
    std::string text = "x: [0";
    for (int i = 1; i < items; ++i) text += ",0";
    return text + "]";
  };
  EXPECT_FALSE(too_large(list(config::kMostNodes - 3)));
  EXPECT_TRUE(too_large(list(config::kMostNodes - 2)));

  EXPECT_FALSE(too_large("x: \"" + std::string(config::kLargestScalar, 'a') + "\""));
  EXPECT_TRUE(too_large("x: \"" + std::string(config::kLargestScalar + 1, 'a') + "\""));

  const std::string seed = "seed: 1\n#";
  EXPECT_EQ(problems_of(seed + std::string(config::kLargestConfig - seed.size(), ' ')), "");
  EXPECT_TRUE(too_large(seed + std::string(config::kLargestConfig - seed.size() + 1, ' ')));
}

// Damage is a ConfigError or another config, never a crash or another exception.
TEST(Yaml, RandomDamageIsReported) {
  std::ifstream in(std::string(FRUGAL_SOURCE_DIR) + "/configs/llama-1b.yaml");
  const std::string whole((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  ASSERT_GT(whole.size(), 1000U);
  const std::string special = "{}[]:,&*!|>'\"%@`#-?\n \t\x80\xE2~<=.0n";
  std::mt19937 random(1);
  int refused = 0;
  constexpr int kTrials = 2000;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::string text = whole;
    for (unsigned damage = random() % 4 + 1; damage > 0; --damage) {
      const std::size_t at = random() % text.size();
      const char c = special[random() % special.size()];
      switch (random() % 3) {
        case 0:
          text[at] = c;
          break;
        case 1:
          text.insert(at, 1, c);
          break;
        default:
          text.erase(at, random() % 20);
      }
    }
    try {
      Config config = parse(text);
      resolve_config(config, 8);
    } catch (const ConfigError& error) {
      ++refused;
      EXPECT_STRNE(error.what(), "");
    }
  }
  EXPECT_GT(refused, kTrials / 4);
  EXPECT_LT(refused, kTrials);  // damage to comments changes nothing
}

}  // namespace
}  // namespace frugal
