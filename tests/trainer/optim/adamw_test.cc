// AdamW over several updates against the formula in double, element by element.
#include "trainer/optim/adamw.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/tensors.h"

namespace frugal::test {
namespace {

constexpr std::int64_t kElements = 37;
constexpr int kUpdates = 6;

OptimizerConfig options() {
  OptimizerConfig out;
  out.beta1 = 0.9;
  out.beta2 = 0.95;
  out.eps = 1e-6;
  out.weight_decay = 0.3;
  return out;
}

float rate_of(int update) {
  return 0.01F / static_cast<float>(update);
}
constexpr float kGradScale = 0.25F;

// Loshchilov and Hutter, algorithm 2, as it stands there: decay is not part of the gradient.
struct PlainAdamw {
  std::vector<double> w, m, v;
  double decay = 0.0;
  void update(int t, const Owned& grad) {
    const OptimizerConfig o = options();
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double g = static_cast<double>(grad.at(static_cast<std::int64_t>(i))) * kGradScale;
      m[i] = o.beta1 * m[i] + (1 - o.beta1) * g;
      v[i] = o.beta2 * v[i] + (1 - o.beta2) * g * g;
      const double m_hat = m[i] / (1 - std::pow(o.beta1, t));
      const double v_hat = v[i] / (1 - std::pow(o.beta2, t));
      w[i] -= static_cast<double>(rate_of(t)) * (m_hat / (std::sqrt(v_hat) + o.eps) + decay * w[i]);
    }
  }
};

Owned gradient_of(int update, std::uint64_t piece) {
  return random_tensor({kElements}, DType::kF32, 100 * piece + static_cast<std::uint64_t>(update));
}

std::vector<double> values(const Owned& t) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < t.get().numel(); ++i) out.push_back(static_cast<double>(t.at(i)));
  return out;
}

// Two pieces, of which the first decays; compares master weights and both moments.
void check_against_formula(DType dtype) {
  const auto stream = make_stream({}, "test");
  Arena arena({}, 1 << 20);
  std::vector<Owned> weights, grads;
  std::vector<PlainAdamw> plain;
  std::vector<OptimizerPiece> pieces;
  for (std::uint64_t p = 0; p < 2; ++p) {
    weights.push_back(random_tensor({kElements}, dtype, 7 + p));
    grads.emplace_back(Shape{kElements}, DType::kF32);
    const std::vector<double> zero(kElements, 0.0);
    plain.push_back({values(weights[p]), zero, zero, p == 0 ? options().weight_decay : 0.0});
    pieces.push_back({weights[p], grads[p], p == 0});
  }
  AdamW adamw(options(), {}, 1, pieces, arena);
  adamw.state_from_weights(*stream);
  for (int update = 1; update <= kUpdates; ++update) {
    for (std::uint64_t p = 0; p < 2; ++p) {
      grads[p].copy_from(gradient_of(update, p));
      plain[p].update(update, grads[p]);
    }
    adamw.step({.step = update, .learning_rate = rate_of(update), .grad_scale = kGradScale},
               *stream);
  }
  const auto state = adamw.state();
  ASSERT_EQ(state.size(), 3U);
  for (std::size_t p = 0; p < 2; ++p) {
    SCOPED_TRACE(p == 0 ? "decayed" : "not decayed");
    for (std::int64_t i = 0; i < kElements; ++i) {
      const auto at = static_cast<std::size_t>(i);
      // A few roundings of float32 each update.
      const auto near = [](double want) { return 1e-6 * (1.0 + std::abs(want)); };
      const float master = state[0].pieces[p].as<float>()[i];
      EXPECT_NEAR(master, plain[p].w[at], near(plain[p].w[at]));
      EXPECT_NEAR(state[1].pieces[p].as<float>()[i], plain[p].m[at], near(plain[p].m[at]));
      EXPECT_NEAR(state[2].pieces[p].as<float>()[i], plain[p].v[at], near(plain[p].v[at]));
      const float weight = weights[p].at(i);
      EXPECT_EQ(weight, dtype == DType::kF32 ? master : static_cast<float>(BFloat16(master)));
    }
  }
}

TEST(AdamW, FollowsTheFormulaInFloat32) {
  check_against_formula(DType::kF32);
}
TEST(AdamW, FollowsTheFormulaWithBfloat16WeightsAndFloat32Masters) {
  check_against_formula(DType::kBF16);
}

// The size of the first update is the learning rate, whatever the gradient's: what bias correction
// is for.
TEST(AdamW, TheFirstUpdateHasTheSizeOfTheLearningRate) {
  const auto stream = make_stream({}, "test");
  Arena arena({}, 1 << 16);
  OptimizerConfig config = options();
  config.eps = 0.0;
  Owned weight = zeros({2}, DType::kF32), grad({2}, DType::kF32);
  grad.set(0, 1e-3F);
  grad.set(1, -1e3F);
  AdamW adamw(config, {}, 1, {{weight, grad, true}}, arena);
  adamw.step({.step = 1, .learning_rate = 0.5F}, *stream);
  EXPECT_NEAR(weight.at(0), -0.5F, 1e-6F);
  EXPECT_NEAR(weight.at(1), 0.5F, 1e-6F);
}

// Updates too small for bfloat16 add up in the master.
TEST(AdamW, SmallUpdatesAreNotLostInBfloat16) {
  const auto stream = make_stream({}, "test");
  Arena arena({}, 1 << 16);
  Owned weight({1}, DType::kBF16), grad({1}, DType::kF32);
  weight.set(0, 1.0F);
  grad.set(0, 1.0F);
  AdamW adamw(options(), {}, 1, {{weight, grad, false}}, arena);
  adamw.state_from_weights(*stream);
  const float least = 0.00390625F;  // from 1 to the next bfloat16 below
  adamw.step({.step = 1, .learning_rate = least / 8}, *stream);
  EXPECT_EQ(weight.at(0), 1.0F);
  for (int update = 2; update <= 8; ++update) {
    adamw.step({.step = update, .learning_rate = least / 8}, *stream);
  }
  EXPECT_LT(weight.at(0), 1.0F);
}

TEST(AdamW, WeightsComeBackFromTheMasters) {
  const auto stream = make_stream({}, "test");
  Arena arena({}, 1 << 16);
  const Owned weight = random_tensor({kElements}, DType::kBF16, 1);
  const Owned grad = zeros({kElements}, DType::kF32);
  AdamW adamw(options(), {}, 1, {{weight, grad, false}}, arena);
  adamw.state_from_weights(*stream);
  const auto before = weight.bits();
  std::memset(weight.get().data, 0, weight.get().bytes());
  adamw.weights_from_state(*stream);
  EXPECT_EQ(weight.bits(), before);
}

PrecisionConfig lean() {
  PrecisionConfig out;
  out.master = false;
  out.optimizer_state = "bf16";
  return out;
}

// Two updates of a weight without master and its moments in bfloat16.
std::vector<std::vector<std::uint16_t>> lean_updates(std::uint64_t seed, std::uint64_t id,
                                                     std::int64_t begin, std::int64_t first_step) {
  const auto stream = make_stream({}, "test");
  Arena arena({}, 1 << 16);
  const Owned weight = random_tensor({kElements}, DType::kBF16, 1);
  Owned grad({kElements}, DType::kF32);
  AdamW adamw(options(), lean(), seed,
              {{.weight_N = weight, .grad_N = grad, .id = id, .begin = begin}}, arena);
  EXPECT_EQ(arena.used(), 2 * aligned(2 * kElements));
  for (int update = 0; update < 2; ++update) {
    grad.copy_from(gradient_of(update, 3));
    // Bias corrections of a step far on are 1: nothing but the random numbers knows the step.
    adamw.step({.step = first_step + update, .learning_rate = 1e-3F}, *stream);
  }
  std::vector<std::vector<std::uint16_t>> out;
  for (const OptimizerState& state : adamw.state()) {
    const auto* bits = reinterpret_cast<const std::uint16_t*>(state.pieces.at(0).as<BFloat16>());
    out.emplace_back(bits, bits + kElements);
  }
  return out;
}

TEST(AdamW, RandomNumbersAreOfSeedParameterStepAndElement) {
  constexpr std::int64_t kLate = 100000;
  const auto expected = lean_updates(1, 2, 8, kLate);
  EXPECT_EQ(lean_updates(1, 2, 8, kLate), expected);
  for (const auto& other : {lean_updates(9, 2, 8, kLate), lean_updates(1, 9, 8, kLate),
                            lean_updates(1, 2, 16, kLate), lean_updates(1, 2, 8, 2 * kLate)}) {
    for (std::size_t kind = 0; kind < 3; ++kind) EXPECT_NE(other[kind], expected[kind]) << kind;
  }
}

// To nearest, a mean square in bfloat16 would stay where it is for ever: a thousandth of it is less
// than half of its last bit. By chance it falls as in float32.
TEST(AdamW, MomentsInBfloat16ForgetAsSlowlyAsTheyShould) {
  const auto stream = make_stream({}, "test");
  Arena arena({}, 1 << 20);
  constexpr std::int64_t kMany = 4096;
  const Owned weight = zeros({kMany}, DType::kF32);
  Owned grad({kMany}, DType::kF32);
  for (std::int64_t i = 0; i < kMany; ++i) grad.set(i, 1.0F);
  OptimizerConfig config = options();
  config.beta2 = 0.999;
  AdamW adamw(config, lean(), 1, {{weight, grad}}, arena);
  adamw.step({.step = 1}, *stream);
  for (std::int64_t i = 0; i < kMany; ++i) grad.set(i, 0.0F);
  for (int update = 2; update <= 500; ++update) adamw.step({.step = update}, *stream);
  const BFloat16* v = adamw.state()[2].pieces[0].as<BFloat16>();
  double mean = 0.0;
  for (std::int64_t i = 0; i < kMany; ++i) mean += static_cast<double>(static_cast<float>(v[i]));
  mean /= kMany;
  // 500 roundings of at most 2^-8 each way are an error of about 4% an element: 5 deviations of
  // the mean of 4096 are 0.4%.
  const double expected = 0.001 * std::pow(0.999, 499);
  EXPECT_NEAR(mean, expected, 0.004 * expected);
  const auto start = static_cast<float>(BFloat16(0.001F));
  EXPECT_EQ(static_cast<float>(BFloat16(0.999F * start)), start);  // to nearest
}

// An eighth of a bfloat16's last bit at a time.
TEST(AdamW, SmallUpdatesAddUpWithoutAMaster) {
  const auto stream = make_stream({}, "test");
  Arena arena({}, 1 << 20);
  constexpr std::int64_t kMany = 4096;
  Owned weight({kMany}, DType::kBF16), grad({kMany}, DType::kF32);
  for (std::int64_t i = 0; i < kMany; ++i) weight.set(i, 1.5F), grad.set(i, 1.0F);
  AdamW adamw(options(), lean(), 1, {{weight, grad}}, arena);
  constexpr float kRate = 0x1p-10F;
  for (int update = 1; update <= 16; ++update) {
    adamw.step({.step = update, .learning_rate = kRate}, *stream);
  }
  double mean = 0.0;
  for (std::int64_t i = 0; i < kMany; ++i) mean += static_cast<double>(weight.at(i)) / kMany;
  // 16 roundings, each of deviation below half a step of 2^-7: 5 of the mean's are 0.0013. The
  // gradient is always the same, so each update is the learning rate, up to bfloat16 moments.
  EXPECT_NEAR(mean, 1.5 - 16 * kRate, 0.0013);
  EXPECT_EQ(static_cast<float>(BFloat16(1.5F - kRate)), 1.5F);  // to nearest
}

}  // namespace
}  // namespace frugal::test
