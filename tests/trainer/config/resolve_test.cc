#include "tests/trainer/config/config_text.h"

namespace frugal {
namespace {

constexpr const char* kBase = R"(
model: {hidden_size: 64, intermediate_size: 128, num_hidden_layers: 4, num_attention_heads: 8,
  num_key_value_heads: 4, vocab_size: 100}
data: {sequence_length: 32}
batch: {micro_batch_size: 2, global_batch_size: 16}
)";

Config resolved(int ranks, const std::vector<std::string>& overrides) {
  Config config = parse(kBase, overrides);
  resolve_config(config, ranks);
  return config;
}

std::string refusal(int ranks, const std::vector<std::string>& overrides) {
  try {
    resolved(ranks, overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(Resolve, FillsEveryAuto) {
  const Config c = resolved(8, {"parallelism.pipeline=2", "parallelism.tensor=2", "train.steps=100",
                                "scheduler.warmup_steps=10"});
  EXPECT_EQ(c.parallelism.data, 2);
  EXPECT_EQ(c.train.lanes, 2);
  EXPECT_EQ(c.scheduler.decay_steps, 90);
  EXPECT_EQ(c.model.head_dim, 8);
  EXPECT_EQ(resolved(1, {"scheduler.name=wsd", "train.steps=50"}).scheduler.decay_steps, 5);
  EXPECT_EQ(resolved(1, {"scheduler.name=constant"}).scheduler.decay_steps, 0);
  EXPECT_EQ(resolved(1, {"train.steps=5", "scheduler.warmup_steps=20"}).scheduler.decay_steps, 0);
  EXPECT_EQ(resolved(1, {"model.num_key_value_heads=0"}).model.num_key_value_heads, 8);
  EXPECT_EQ(resolved(1, {"model.model_type=gpt2", "model.num_key_value_heads=8",
                         "model.intermediate_size=0"})
                .model.intermediate_size,
            256);
  EXPECT_FALSE(
      resolved(1, {"model.vocab_size=auto", "tokenizer.path=x"}).model.vocab_size.has_value());
}

TEST(Resolve, AResolvedConfigResolvesToItself) {
  for (const std::vector<std::string>& overrides :
       std::vector<std::vector<std::string>>{{"batch.global_batch_size=12"},
                                             {"batch.global_batch_size=12", "model.model_type=gpt2",
                                              "model.num_key_value_heads=0"}}) {
    const Config once = resolved(3, overrides);
    EXPECT_EQ(once.train.lanes, 3);  // `run` sums any number of replicas
    Config again = parse(dump_config(once));
    resolve_config(again, 3);
    EXPECT_EQ(dump_config(once), dump_config(again));
  }
}

TEST(Resolve, RanksAgainstTheLayout) {
  const std::vector<std::string> four{"parallelism.pipeline=2", "parallelism.tensor=2"};
  EXPECT_TRUE(
      says(refusal(6, four),
           "override 1: one replica takes pipeline 2 x tensor 2 = 4 ranks, but the run has 6 "
           "ranks; start 4 or 8\n"));
  EXPECT_TRUE(says(refusal(1, four), "but the run has 1 rank; start 4\n"));
  EXPECT_TRUE(
      says(refusal(6, {"parallelism.pipeline=2", "parallelism.data=2"}),
           "the layout needs pipeline 2 x data 2 = 4 ranks, but the run has 6 ranks; start 4, "
           "or set parallelism.data to auto or 3\n"));
  const std::string three = refusal(3, {"parallelism.pipeline=2", "parallelism.data=2"});
  EXPECT_TRUE(says(three, "but the run has 3 ranks; start 4\n"));
  EXPECT_TRUE(says(refusal(2, {"parallelism.data=1"}),
                   "the layout needs 1 rank, but the run has 2 ranks; start 1, or set"));
  EXPECT_TRUE(says(refusal(1, {"parallelism.tensor=2", "parallelism.pipeline=1"}),
                   "one replica takes tensor 2 ranks, but the run has 1 rank; start 2"));
  EXPECT_TRUE(
      says(refusal(1, {"parallelism.expert=2"}), "parallelism.expert 2 is not supported yet"));
  EXPECT_TRUE(
      says(refusal(1, {"parallelism.context=4"}), "parallelism.context 4 is not supported yet"));
}

struct Case {
  int ranks;
  std::vector<std::string> overrides;
  const char* part;
};

void expect_refused(const std::vector<Case>& cases) {
  for (const Case& c : cases) EXPECT_TRUE(says(refusal(c.ranks, c.overrides), c.part));
}

TEST(Resolve, SizesThatDoNotFit) {
  expect_refused({
      {1, {"model.intermediate_size=0"}, "model.intermediate_size must be set for llama"},
      {1,
       {"model.num_attention_heads=7"},
       "model.hidden_size 64 is not a multiple of model.num_attention_heads 7; nearest: 63 or "
       "70"},
      {1,
       {"model.num_key_value_heads=3"},
       "model.num_attention_heads 8 is not a multiple of model.num_key_value_heads 3"},
      {1, {"model.head_dim=5"}, "model.head_dim 5 is odd"},
      {1, {"model.model_type=gpt2"}, "gpt2 has as many key and value heads as query heads"},
      {1,
       {"model.vocab_size=auto"},
       "model.vocab_size auto is the tokenizer's: set tokenizer.path"},
      {1,
       {"data.sequence_length=2048"},
       "data.sequence_length 2048 is longer than model.max_position_embeddings 1024"},
      {6,
       {"parallelism.tensor=6", "model.num_attention_heads=12", "model.hidden_size=96"},
       "model.num_key_value_heads 4 is not a multiple of parallelism.tensor 6; nearest: 6\n"},
      {1, {"model.rope_factor=2"}, "model.rope_factor has no effect with model.rope_type default"},
      {1,
       {"model.rope_type=llama3", "model.rope_low_freq_factor=4"},
       "model.rope_high_freq_factor must be above model.rope_low_freq_factor"},
      {4,
       {"parallelism.tensor=4", "model.intermediate_size=130"},
       "model.intermediate_size 130 is not a multiple of parallelism.tensor 4; nearest: 128 "
       "or 132"},
      {4,
       {"parallelism.tensor=4", "data.sequence_length=33", "batch.micro_batch_size=1"},
       "the tokens of a micro-batch, micro_batch_size 1 x sequence_length 33 = 33, are not a "
       "multiple of parallelism.tensor 4"},
      {3,
       {},
       "batch.global_batch_size 16 is not a multiple of micro_batch_size 2 x data-parallel "
       "size 3 = 6; nearest: 12 or 18"},
      {1, {"batch.global_batch_size=1"}, "nearest: 2\n"},
      {1,
       {"batch.global_batch_size=16777216", "data.sequence_length=1024"},
       "one update would have 17179869184 tokens"},
  });
}

TEST(Resolve, StagesThatDoNotFit) {
  expect_refused({
      {2,
       {"parallelism.pipeline=2", "parallelism.schedule=interleaved_1f1b"},
       "needs parallelism.stages_per_rank of at least 2"},
      {2,
       {"parallelism.pipeline=2", "parallelism.stages_per_rank=2"},
       "parallelism.schedule 1f1b has one stage on each rank"},
      {2,
       {"parallelism.pipeline=2", "parallelism.schedule=interleaved_1f1b",
        "parallelism.stages_per_rank=2", "batch.global_batch_size=6"},
       "interleaved_1f1b needs a multiple of parallelism.pipeline 2 micro-batches, but "
       "global_batch_size / (micro_batch_size x data-parallel size) is 3; nearest: 2 or 4"},
      {11,
       {"parallelism.pipeline=11"},
       "pipeline 11 stages cannot all get work: a model of 4 layers divides into at most 10 "
       "parts"},
      {2,
       {"parallelism.pipeline=2", "parallelism.stage_layers=[1, 2, 1]"},
       "parallelism.stage_layers has 3 entries, but the layout has pipeline 2 stages"},
      {2,
       {"parallelism.pipeline=2", "parallelism.stage_layers=[1, 2]"},
       "parallelism.stage_layers adds up to 3, but model.num_hidden_layers is 4"},
      {4,
       {"parallelism.pipeline=4", "parallelism.stage_layers=[2, 0, 2, 0]"},
       "only the first stage (with the embedding) and the last"},
  });
}

TEST(Resolve, LanesStepsAndReportsThatDoNotFit) {
  expect_refused({
      {3,
       {"batch.global_batch_size=12", "train.determinism=ordered"},
       "train.determinism ordered needs a power of two of train.lanes, but auto gives the "
       "data-parallel size 3"},
      {1, {"train.lanes=3", "train.determinism=ordered"}, "but there are 3"},
      {1,
       {"train.lanes=3", "batch.global_batch_size=12"},
       "train.lanes 3 does not fit data-parallel size 1: it must be that size times a power "
       "of two"},
      {2, {"train.lanes=1"}, "train.lanes 1 does not fit data-parallel size 2"},
      {2, {"train.lanes=16"}, "train.lanes 16 does not divide the 8 micro-batches of an update"},
      {1,
       {"scheduler.name=wsd", "scheduler.decay_steps=60", "scheduler.warmup_steps=60"},
       "are together more than train.steps 100"},
      {1,
       {"precision.compute=fp16", "precision.master=false"},
       "precision.master false needs precision.compute bf16: fp32 weights are their own master, "
       "and fp16 has too few numbers near 0 to do without"},
      {1, {"precision.compute=fp32", "precision.master=false"}, "needs precision.compute bf16"},
      {1,
       {"precision.initial_loss_scale=1000"},
       "precision.initial_loss_scale 1000 is not a power of two; nearest: 512 or 1024"},
      {1, {"scheduler.min_lr=0.1"}, "scheduler.min_lr is above optimizer.learning_rate"},
      {1,
       {"checkpoint.keep_every=150"},
       "checkpoint.keep_every 150 is not a multiple of checkpoint.interval 100; nearest: 100 "
       "or 200"},
      {1, {"eval.interval=5"}, "eval.interval is set, but data.validation is empty"},
      {1,
       {"sample.interval=5", "tokenizer.path=x"},
       "sample.interval is set, but sample.prompts is empty"},
      {1,
       {"sample.interval=5", "sample.prompts=[a]"},
       "sample.interval is set, but tokenizer.path is not"},
  });
}

TEST(Resolve, WhatFits) {
  for (const Case& c : std::vector<Case>{
           {1, {}, ""},
           {8, {}, ""},
           {4, {"parallelism.tensor=4"}, ""},
           {4, {"parallelism.pipeline=4", "parallelism.stage_layers=[0, 2, 2, 0]"}, ""},
           {10, {"parallelism.pipeline=10"}, ""},
           {2,
            {"parallelism.pipeline=2", "parallelism.schedule=interleaved_1f1b",
             "parallelism.stages_per_rank=2"},
            ""},
           {2, {"train.lanes=8", "train.determinism=ordered"}, ""},
           {1, {"checkpoint.interval=0", "checkpoint.keep_every=7"}, ""},
       }) {
    EXPECT_EQ(refusal(c.ranks, c.overrides), c.part);
  }
}

TEST(Resolve, AllProblemsAtOnceAtTheKeyThatTheUserWrote) {
  const std::string message = refusal(3, {"scheduler.min_lr=1"});
  EXPECT_TRUE(says(message, "a.yaml:5:49: batch.global_batch_size 16 is not"));
  EXPECT_TRUE(says(message, "    batch: {micro_batch_size: 2, global_batch_size: 16}\n"));
  EXPECT_TRUE(says(message, "override 1: scheduler.min_lr is above"));
}

}  // namespace
}  // namespace frugal
