#include "tests/trainer/config/config_text.h"
#include "trainer/config/foreign_names.h"
#include "trainer/config/nearest.h"
#include "trainer/config/schema.h"

namespace frugal {
namespace {

TEST(Parse, EveryTypeOfKey) {
  const Config c = parse(R"(
run: {name: "a b", dir: /tmp/runs}
device: cuda
seed: 18446744073709551615
model: {model_type: llama, vocab_size: 300, tie_word_embeddings: true}
data:
  train:
    - path: one
    - {path: two, weight: 0.5}
  sequence_length: 64
parallelism: {data: auto, stage_layers: [1, 3]}
optimizer:
  learning_rate: 1e-3
sample: {prompts: ["In the", 'beginning: x', plain], temperature: 0}
checkpoint:
)");
  EXPECT_EQ(c.run.name, "a b");
  EXPECT_EQ(c.device, "cuda");
  EXPECT_EQ(c.seed, 18446744073709551615U);
  EXPECT_EQ(c.model.vocab_size, 300);
  EXPECT_TRUE(c.model.tie_word_embeddings);
  ASSERT_EQ(c.data.train.size(), 2U);
  EXPECT_EQ(c.data.train[0].path, "one");
  EXPECT_EQ(c.data.train[0].weight, 1.0);
  EXPECT_EQ(c.data.train[1].weight, 0.5);
  EXPECT_FALSE(c.parallelism.data.has_value());
  EXPECT_EQ(c.parallelism.stage_layers, (std::vector{1, 3}));
  EXPECT_EQ(c.optimizer.learning_rate, 1e-3);
  EXPECT_EQ(c.sample.prompts, (std::vector<std::string>{"In the", "beginning: x", "plain"}));
  EXPECT_EQ(c.sample.temperature, 0.0);
  EXPECT_EQ(c.checkpoint.interval, CheckpointConfig{}.interval);
  EXPECT_EQ(c.origins.at("device").place, "a.yaml:3:9");
  EXPECT_FALSE(c.origins.contains("device2"));
}

TEST(Parse, AnEmptyFileIsAllDefaults) {
  EXPECT_EQ(dump_config(parse("")), dump_config(Config{}));
}

TEST(Parse, AllProblemsAtOnceWithPlaceLineAndCaret) {
  EXPECT_EQ(
      problems_of("train:\n  stepps: 5\noptimizer: {lr: 3, beta1: 1.0}\n", {"seed=x"}),
      "a.yaml:2:3: there is no key 'stepps' in 'train'; did you mean 'train.steps'?\n"
      "      stepps: 5\n"
      "      ^\n"
      "a.yaml:3:13: there is no key 'lr' in 'optimizer'; did you mean "
      "'optimizer.learning_rate'?\n"
      "    optimizer: {lr: 3, beta1: 1.0}\n"
      "                ^\n"
      "a.yaml:3:27: optimizer.beta1: expected a number of at least 0 and below 1, found '1.0'\n"
      "    optimizer: {lr: 3, beta1: 1.0}\n"
      "                              ^\n"
      "override 1: seed: expected a whole number of at least 0, found 'x'\n"
      "    seed=x\n"
      "         ^");
}

TEST(Parse, AFloodOfProblemsIsCounted) {
  std::string text = "train:\n";
  for (int i = 0; i < 150; ++i) text += "  key" + std::to_string(i) + "_x: 1\n";
  const std::string message = problems_of(text);
  EXPECT_TRUE(message.ends_with("\nand 50 more")) << message;
}

struct Wrong {
  const char* text;
  const char* part;
};

TEST(Parse, WrongValues) {
  for (const Wrong& w : std::vector<Wrong>{
           {"train: {steps: 1.5}",
            "train.steps: expected a whole number from 1 to 1000000000, found '1.5'"},
           {"train: {steps: 1e3}", "; write 1000"},
           {"train: {steps: 1_000}", "; write 1000"},
           {"train: {steps: \"10\"}", "found the quoted text '10'; remove the quotes"},
           {"train: {steps: 010}", "found '010'"},
           {"train: {steps: 99999999999}", "found '99999999999'"},
           {"train: {steps: 0}", "found '0'"},
           {"train: {steps: }", "found nothing"},
           {"train: {steps: [1]}", "found a list"},
           {"train: {steps: {a: 1}}", "found a map"},
           {"train: {threads: 0}", "expected auto or a whole number from 1 to 4096, found '0'"},
           {"optimizer: {learning_rate: 0}",
            "expected a number above 0 and of at most 1000, found '0'"},
           {"optimizer: {learning_rate: .nan}", "found '.nan'"},
           {"optimizer: {learning_rate: inf}", "found 'inf'"},
           {"optimizer: {learning_rate: 1e999}", "found '1e999'"},
           {"seed: -1", "found '-1'"},
           {"logging: {tensorboard: yes}", "expected true or false, found 'yes'; write true"},
           {"logging: {tensorboard: Off}", "found 'Off'; write false"},
           {"logging: {tensorboard: \"true\"}", "; remove the quotes"},
           {"logging: {tensorboard: 1}", "expected true or false, found '1'"},
           {"run: {name: on}", "found 'on'; put it in quotes if you mean the word"},
           {"run: {name: a/b}", "a name for a folder"},
           {"run: {name: \"..\"}", "a name for a folder"},
           {"run: {name: \"a\\0b\"}", "run.name: expected"},
           {"device: gpu", "expected one of auto, cpu, cuda, found 'gpu'; did you mean 'cuda'?"},
           {"precision: {compute: bfloat16}", "did you mean 'bf16'?"},
           {"precision: {compute: float16}", "did you mean 'fp16'?"},
           {"precision: {master_weights: false}", "did you mean 'precision.master'?"},
           {"precision: {exp_avg_dtype: bf16}", "did you mean 'precision.optimizer_state'?"},
           {"precision: {optimizer_state: fp16}", "expected one of fp32, bf16"},
           {"precision: {initial_loss_scale: 0}", "expected a whole number from 1 to 1073741824"},
           {"precision: {loss_scale: 128}", "did you mean 'precision.initial_loss_scale'?"},
           {"precision: {growth_interval: 9}", "did you mean 'precision.loss_scale_window'?"},
           {"scheduler: {name: cosin}", "did you mean 'cosine'?"},
           {"scheduler: {name: xyz}", "expected one of cosine, linear, wsd, constant, found 'xyz'"},
           {"data: {train: data/kjv/train}", "expected a list of sources like [{path:"},
           {"data: {train: [data/kjv]}", "; write {path: data/kjv}"},
           {"data: {train: [{weight: 1}]}", "data.train: this source has no path"},
           {"data: {train: [{path: a, wieght: 1}]}", "there is no key 'wieght' in a source"},
           {"data: {train: [{path: a, weight: 0}]}",
            "data.train.weight: expected a number above 0"},
           {"data: {train: [{path: \"\"}]}", "data.train: this source has no path"},
           {"parallelism: {stage_layers: 4}", "expected a list like [4, 4]"},
           {"parallelism: {stage_layers: [4, x]}", "found 'x'"},
           {"sample: {prompts: hello}", "expected a list of texts"},
           {"model: 3", "'model' is a section: expected keys, like 'model_type:', below it"},
           {"- a\n- b", "a config is made of sections"},
           {"hello", "a config is made of sections"},
       }) {
    EXPECT_TRUE(says(problems_of(w.text), w.part)) << w.text;
  }
}

TEST(Parse, UnknownKeysAndWhatWasMeant) {
  for (const Wrong& w : std::vector<Wrong>{
           {"train: {micro_batch_size: 4}", "in 'train'; did you mean 'batch.micro_batch_size'?"},
           {"train: {max_steps: 4}", "did you mean 'train.steps'?"},
           {"train: {per-device-train-batch-size: 4}", "did you mean 'batch.micro_batch_size'?"},
           {"model: {num_layers: 4}", "did you mean 'model.num_hidden_layers'?"},
           {"model: {n_embd: 4}", "did you mean 'model.hidden_size'?"},
           {"model: {hidden_sise: 4}", "did you mean 'model.hidden_size'?"},
           {"optimiser: {eps: 4}", "there is no key 'optimiser'; did you mean 'optimizer'?"},
           {"learning_rate: 3", "did you mean 'optimizer.learning_rate'?"},
           {"train: {gradient_accumulation_steps: 4}", "it follows from batch.global_batch_size"},
           {"optimizer.eps: 3", "write 'eps' below 'optimizer:'"},
           {"memory: {zzzzzz: 3}", "there is no key 'zzzzzz' in 'memory'; there is recompute"},
           {"zzzzzz: {a: 1}", "; there is device, seed, run, model"},
           {"logging: {intervall: 1}", "did you mean 'logging.interval'?"},
       }) {
    EXPECT_TRUE(says(problems_of(w.text), w.part)) << w.text;
  }
}

TEST(Parse, OverridesReplaceInOrder) {
  const Config c =
      parse("train: {steps: 5}\ndata: {train: [{path: a}, {path: b}]}",
            {"train.steps=6", "train.steps=7", "seed=9", "run.name=x y",
             "data.train=[{path: c, weight: 2}]", "sample.prompts=[\"a, b\", 'c']",
             "parallelism.data=auto", "tokenizer.path=''", "parallelism.stage_layers=[2, 4]"});
  EXPECT_EQ(c.train.steps, 7);
  EXPECT_EQ(c.seed, 9U);
  EXPECT_EQ(c.run.name, "x y");
  ASSERT_EQ(c.data.train.size(), 1U);
  EXPECT_EQ(c.data.train[0].path, "c");
  EXPECT_EQ(c.sample.prompts, (std::vector<std::string>{"a, b", "c"}));
  EXPECT_EQ(c.parallelism.stage_layers, (std::vector{2, 4}));
  EXPECT_EQ(c.origins.at("train.steps").place, "override 2");
}

TEST(Parse, WrongOverrides) {
  for (const auto& [text, part] : std::vector<std::pair<const char*, const char*>>{
           {"train.steps", "an override is written section.key=value"},
           {"=3", "an override is written section.key=value"},
           {"train.steps=",
            "train.steps: expected a whole number from 1 to 1000000000, found nothing"},
           {"train.stepps=3", "there is no key 'stepps' in 'train'; did you mean 'train.steps'?"},
           {"lr=3", "did you mean 'optimizer.learning_rate'?"},
           {"train={steps: 3}",
            "'train' is a section; an override sets one key, like train.steps=value"},
           {"data.train=[{path: a}", "not valid YAML near here: a '[' before here is not closed"},
           {"foo.bar=3", "there is no key 'foo.bar'"},
           {"run.name=a: b", "found a map"},
       }) {
    const std::string message = problems_of("", {"seed=1", text});
    EXPECT_TRUE(says(message, part)) << text;
    EXPECT_TRUE(message.starts_with("override 2: ")) << message;
  }
}

TEST(Parse, AFileThatCannotBeRead) {
  for (const char* path : {"/nonexistent/a.yaml", "/"}) {
    try {
      load_config(path, {});
      FAIL() << path;
    } catch (const ConfigError& error) {
      EXPECT_TRUE(says(error.what(), std::string(path) + ": this config cannot be read: "));
    }
  }
}

TEST(Schema, DefaultsAreWithinLimitsAndNamesAreUnique) {
  Config defaults;
  for (const config::Key& key : config::keys()) {
    EXPECT_TRUE(config::within(key.value(defaults), key.limits) || key.name == "path")
        << key.full_name();
    EXPECT_EQ(config::find_key(key.section, key.name), &key) << key.full_name();
    EXPECT_FALSE(key.text.empty()) << key.full_name();
  }
}

// A hint must not send people to a key that does not exist, nor shadow one of ours.
TEST(Schema, HintsNameKeysThatExist) {
  int quoted_keys = 0;
  for (const config::Key& key : config::keys()) {
    EXPECT_FALSE(config::foreign_hint(key.name).ends_with("remove the key")) << key.name;
  }
  for (const char* name :
       {"lr", "dp", "max_steps", "num_layers", "seq_len", "bf16", "warmup", "prompt"}) {
    const std::string hint(config::foreign_hint(name));
    const auto begin = hint.find('\''), end = hint.rfind('\''), dot = hint.find('.');
    ASSERT_NE(begin, end) << name;
    EXPECT_NE(config::find_key(hint.substr(begin + 1, dot - begin - 1),
                               hint.substr(dot + 1, end - dot - 1)),
              nullptr)
        << hint;
    ++quoted_keys;
  }
  EXPECT_EQ(quoted_keys, 8);
  EXPECT_EQ(config::foreign_hint("nothing of the kind"), "");
  EXPECT_EQ(config::foreign_hint("MAX-STEPS"), "did you mean 'train.steps'?");
}

TEST(Nearest, CountsSwapsAsOneAndShortWordsStrictly) {
  const std::vector<std::string_view> words{"steps", "name", "eps"};
  EXPECT_EQ(config::nearest("setps", words), "steps");
  EXPECT_EQ(config::nearest("STEPS", words), "steps");
  EXPECT_EQ(config::nearest("stxxps", words), "steps");
  EXPECT_EQ(config::nearest("stxxxps", words), "");
  EXPECT_EQ(config::nearest("nmae", words), "name");
  EXPECT_EQ(config::nearest("nxxe", words), "");
  EXPECT_EQ(config::nearest(std::string(100000, 'a'), words), "");
  EXPECT_EQ(config::nearest("", words), "");
}

}  // namespace
}  // namespace frugal
