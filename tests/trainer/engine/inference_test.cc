// Generation and scoring of one rank: what is planned suffices, what is drawn exists.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "comm/lone_world.h"
#include "kernels/core/threads.h"
#include "tests/equivalence/tiny_training.h"
#include "trainer/engine/generate.h"

namespace frugal::test {
namespace {

// A tiny model of which the head takes few tokens at once.
class Tiny {
 public:
  explicit Tiny(InferenceLimits limits) {
    set_compute_threads(1);
    config_ = with_layout(tiny_config("qwen3", "fp32"), {});
    dims_ = model_dimensions(config_, 0);
    dims_.chunk_logits = dims_.vocab_rows() * 5;
    Arena weights = Arena::counting({}), memory = Arena::counting({}), host = Arena::counting({});
    Workspace scratch = Workspace::counting({});
    const auto stream = make_planning_stream({});
    ParamStore params(dims_.dtype);
    declare_params(dims_, config_, 0, params);
    params.allocate(weights, no_gradients_);
    InferenceModel plan(config_, dims_, {*stream, scratch, mesh_, params, memory, host}, limits);
    plan.measure();
    weights_.emplace(Device{}, weights.used());
    memory_.emplace(Device{}, memory.used() + scratch.high_water());
    host_.emplace(Arena::host_side({}, host.used()));
    scratch_.emplace(*memory_, scratch.high_water());
    declare_params(dims_, config_, 0, params_);
    params_.allocate(*weights_, no_gradients_);
    params_.initialize(7, *stream_);
    model_.emplace(config_, dims_,
                   InferenceResources{*stream_, *scratch_, mesh_, params_, *memory_, *host_},
                   limits);
  }
  InferenceModel& model() { return *model_; }

 private:
  Config config_;
  ModelDimensions dims_;
  DeviceMesh mesh_{make_lone_world()->group(), {}};
  std::unique_ptr<Stream> stream_ = make_stream({}, "test");
  Arena no_gradients_ = Arena::counting({});
  std::optional<Arena> weights_, memory_, host_;
  std::optional<Workspace> scratch_;
  ParamStore params_{DType::kF32};
  std::optional<InferenceModel> model_;
};

std::vector<std::int32_t> tokens_of(std::int64_t count) {
  std::vector<std::int32_t> out;
  for (std::int64_t i = 0; i < count; ++i) {
    out.push_back(static_cast<std::int32_t>(i * 37 % kVocab));
  }
  return out;
}

// No length takes more than was planned, whatever chunks the head makes of it; and a loss is the
// sum of those of its targets.
TEST(Inference, EveryLengthUpToTheLimitFits) {
  constexpr int kMost = 45;
  Tiny tiny({.sequences = 2, .positions = kMost, .new_tokens = kMost});
  const auto tokens = tokens_of(kMost + 1);
  double before = 0;
  for (std::size_t n = 1; n <= kMost; ++n) {
    SCOPED_TRACE(n);
    const auto inputs = std::span(tokens).first(n), targets = std::span(tokens).subspan(1, n);
    const double loss = tiny.model().loss(inputs, targets);
    std::vector<std::int32_t> last(n, -1);
    last.back() = targets.back();
    EXPECT_NEAR(loss - before, tiny.model().loss(inputs, last), 1e-4);
    before = loss;
    const InferenceModel::Feed one[] = {{.sequence = 1, .begin = 0, .tokens = inputs}};
    const auto logits = tiny.model().extend(one);
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
    const double expected =
        std::log(sum) - static_cast<double>(logits[static_cast<std::size_t>(targets.back())]);
    EXPECT_NEAR(tiny.model().loss(inputs, last), expected, 1e-4);
  }
}

TEST(Inference, SumsOverReplicasKeepWhatIsNoNumber) {
  Tiny tiny({.sequences = 1, .positions = 4, .new_tokens = 4});
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> values{std::nan(""), 3.0, infinity, 0.1};
  tiny.model().sum_over_replicas(values);
  EXPECT_TRUE(std::isnan(values[0]));
  EXPECT_EQ(values[1], 3.0);
  EXPECT_EQ(values[2], infinity);
  EXPECT_EQ(values[3], 0.1);
}

// More prompts than sequences at once, of unequal lengths: each goes on as if it were alone.
TEST(Generation, PromptsTakeTurnsAndDoNotMeet) {
  std::vector<Prompt> prompts;
  for (const std::int64_t length : {5, 1, 9, 3, 12})
    prompts.push_back({.tokens = tokens_of(length)});
  const SamplingOptions options{.max_new_tokens = 7, .temperature = 0};
  Tiny two({.sequences = 2, .positions = 24, .new_tokens = 12});
  const auto together = generate(two.model(), prompts, options);
  ASSERT_EQ(together.size(), prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    Tiny one({.sequences = 1, .positions = 24, .new_tokens = 12});
    EXPECT_EQ(together[i], generate(one.model(), {prompts[i]}, options).front()) << i;
    EXPECT_EQ(together[i].size(), 7U);
  }
}

TEST(Generation, EndsWherePositionsEndAndReusesWhatIsCached) {
  Tiny tiny({.sequences = 1, .positions = 10, .new_tokens = 10});
  const SamplingOptions options{.max_new_tokens = 50, .temperature = 0};
  const auto whole = generate(tiny.model(), {{.tokens = tokens_of(4)}}, options).front();
  EXPECT_EQ(whole.size(), 7U);  // the last one needs no position
  std::vector<std::int32_t> more = tokens_of(4);
  more.insert(more.end(), whole.begin(), whole.begin() + 3);
  EXPECT_EQ(generate(tiny.model(), {{.tokens = more, .cached = 5}}, options).front(),
            std::vector<std::int32_t>(whole.begin() + 3, whole.end()));
  SamplingOptions stopped = options;
  stopped.stop_tokens = {whole[2]};
  EXPECT_LE(generate(tiny.model(), {{.tokens = tokens_of(4)}}, stopped).front().size(), 2U);
}

TEST(SampleToken, DrawsFromThoseThatAreKept) {
  const std::vector<float> logits{0.0F, 3.0F, 2.0F, 3.0F, -1.0F};
  const auto drawn = [&](const SamplingOptions& options) {
    std::set<std::int32_t> out;
    for (int i = 0; i < 1000; ++i) out.insert(sample_token(logits, options, i / 1000.0));
    return out;
  };
  using Set = std::set<std::int32_t>;
  EXPECT_EQ(drawn({.temperature = 0}), Set({1}));  // the smaller id of equals
  EXPECT_EQ(drawn({.temperature = 1, .top_k = 1}), Set({1}));
  EXPECT_EQ(drawn({.temperature = 1, .top_k = 2}), Set({1, 3}));
  EXPECT_EQ(drawn({.temperature = 1, .top_p = 0.5}), Set({1, 3}));
  EXPECT_EQ(drawn({.temperature = 1, .top_p = 0.9}), Set({1, 2, 3}));
  EXPECT_EQ(drawn({.temperature = 4}), Set({0, 1, 2, 3, 4}));
}

// The same for samples in training, generation and questions.
TEST(PromptTokens, BeginAsTheFamilysTextsDoAndAreNeverNone) {
  const auto llama = Tokenizer::load(FRUGAL_GOLDEN_DIR "/tokenizer/llama3");
  const auto ours = Tokenizer::load(FRUGAL_GOLDEN_DIR "/tokenizer");
  ASSERT_TRUE(llama.begin_of_text().has_value());
  EXPECT_EQ(prompt_tokens(llama, ""), std::vector<std::int32_t>{*llama.begin_of_text()});
  EXPECT_EQ(prompt_tokens(llama, "a").front(), *llama.begin_of_text());
  EXPECT_EQ(prompt_tokens(llama, "a").size(), 2U);
  EXPECT_EQ(prompt_tokens(ours, ""), std::vector<std::int32_t>{ours.end_of_text()});
  EXPECT_EQ(prompt_tokens(ours, "a").size(), 1U);
}

TEST(SampleToken, RefusesWhatIsNoNumber) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    const std::vector<float> logits{1.0F, bad, 2.0F};
    EXPECT_THROW(sample_token(logits, {.temperature = 0}, 0.5), Error);
    EXPECT_THROW(sample_token(logits, {.temperature = 1, .top_k = 2}, 0.5), Error);
  }
}

TEST(Generation, DrawsNoIdThatTheTokenizerLacks) {
  Tiny tiny({.sequences = 1, .positions = 60, .new_tokens = 4});
  const SamplingOptions options{.max_new_tokens = 50, .temperature = 5, .vocab_size = 10};
  const auto texts = generate(tiny.model(), {{.tokens = {3}}}, options);
  EXPECT_EQ(texts.front().size(), 50U);
  for (const std::int32_t id : texts.front()) EXPECT_LT(id, 10);
}

}  // namespace
}  // namespace frugal::test
