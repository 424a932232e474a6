// What the vector loops of the CPU backend promise about single elements, on every instruction set.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "tests/support/cpu_targets.h"
#include "tests/support/op_cases.h"

namespace frugal::test {
namespace {

constexpr std::int64_t kCount = 4097;

class Elements : public testing::TestWithParam<DType> {
 protected:
  // Runs op on all kCount elements and on pieces cut at odd places: the same bits, or the test
  // fails. op(tensors, out) reads its inputs and writes out, all of one length.
  template <class Op>
  void expect_same_bits_when_cut(const char* name, const std::vector<Owned>& inputs,
                                 const Op& op) const {
    SCOPED_TRACE(name);
    for_each_cpu_target([&] {
      const auto run = [&](const std::vector<std::int64_t>& cuts) {
        const Owned out({kCount}, GetParam());
        for (std::size_t c = 0; c + 1 < cuts.size(); ++c) {
          std::vector<ConstTensor> pieces;
          for (const Owned& input : inputs) {
            pieces.push_back(ConstTensor(input).slice(cuts[c], cuts[c + 1]));
          }
          op(pieces, out.get().slice(cuts[c], cuts[c + 1]));
        }
        return out.bits();
      };
      EXPECT_EQ(run({0, kCount}), run({0, 1, 18, 18, 1000, 4091, kCount}));
    });
  }

  Owned random(std::uint64_t key, float scale = 1.0F) const {
    return random_tensor({kCount}, GetParam(), key, scale);
  }

  std::unique_ptr<Stream> stream_ = make_stream({}, "test");
};

INSTANTIATE_TEST_SUITE_P(Dtypes, Elements, testing::Values(DType::kF32, DType::kBF16, DType::kF16),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST_P(Elements, DoNotDependOnTheCut) {
  std::vector<Owned> inputs;
  inputs.push_back(random(1, 3.0F));
  inputs.push_back(random(2));
  inputs.push_back(random(3));
  using Pieces = std::vector<ConstTensor>;
  expect_same_bits_when_cut("add", inputs, [&](const Pieces& in, const Tensor& out) {
    ops::add(*stream_, out, in[0], in[1]);
  });
  expect_same_bits_when_cut("scale", inputs, [&](const Pieces& in, const Tensor& out) {
    ops::scale(*stream_, out, in[0], 1.7F);
  });
  expect_same_bits_when_cut("swiglu_forward", inputs, [&](const Pieces& in, const Tensor& out) {
    ops::swiglu_forward(*stream_, out, in[0], in[1]);
  });
  expect_same_bits_when_cut("gelu_forward", inputs, [&](const Pieces& in, const Tensor& out) {
    ops::gelu_forward(*stream_, out, in[0]);
  });
  expect_same_bits_when_cut("gelu_backward_input", inputs,
                            [&](const Pieces& in, const Tensor& out) {
                              ops::gelu_backward_input(*stream_, out, in[1], in[0]);
                            });
  for (const bool gate : {true, false}) {
    expect_same_bits_when_cut(gate ? "swiglu gate gradient" : "swiglu up gradient", inputs,
                              [&](const Pieces& in, const Tensor& out) {
                                const Owned other(out.shape, GetParam());
                                ops::swiglu_backward_input(*stream_,
                                                           {.dgate_TI = gate ? out : Tensor(other),
                                                            .dup_TI = gate ? Tensor(other) : out,
                                                            .dout_TI = in[2],
                                                            .gate_TI = in[0],
                                                            .up_TI = in[1]});
                              });
  }
  expect_same_bits_when_cut("cast", inputs, [&](const Pieces& in, const Tensor& out) {
    const Owned other(out.shape, GetParam() == DType::kF32 ? DType::kBF16 : DType::kF32);
    ops::cast(*stream_, other, in[0]);
    ops::cast(*stream_, out, other);
  });
  for (const bool sum : {true, false}) {
    expect_same_bits_when_cut(sum ? "tree_sum" : "max_rows", inputs,
                              [&](const Pieces& in, const Tensor& out) {
                                const Owned rows({3, out.numel()}, GetParam());
                                for (std::int64_t r = 0; r < 3; ++r) {
                                  ops::cast(*stream_, rows.get().slice(r, r + 1), in[r]);
                                }
                                (sum ? ops::tree_sum : ops::max_rows)(*stream_, out, rows);
                              });
  }
}

// ZeRO cuts parameters: a piece's update must have the bits of the whole's, in all state. Where it
// is rounded by chance, pieces begin at multiples of eight.
TEST_P(Elements, AdamwDoesNotDependOnTheCut) {
  const auto run = [&](const std::vector<std::int64_t>& cuts, bool with_master, DType state) {
    const Owned master = random_tensor({kCount}, DType::kF32, 1), weight = random(1),
                m = random_tensor({kCount}, state, 4, 0.1F),
                v = random_tensor({kCount}, state, 5, 0.1F, 1.0F),
                grad = random_tensor({kCount}, DType::kF32, 2);
    std::vector<AdamwPiece> pieces;
    for (std::size_t c = 0; c + 1 < cuts.size(); ++c) {
      const auto piece = [&](const Owned& t) { return t.get().slice(cuts[c], cuts[c + 1]); };
      pieces.push_back({.weight_N = piece(weight),
                        .master_N = with_master ? piece(master) : Tensor{},
                        .m_N = piece(m),
                        .v_N = piece(v),
                        .grad_N = piece(grad),
                        .weight_decay = 0.1F,
                        .rounding_key = 9,
                        .begin = cuts[c] / 8 * 8});
    }
    ops::adamw_step(*stream_, pieces, {.grad_scale = 0.7F, .learning_rate = 0.1F});
    return std::vector{weight.bits(), master.bits(), m.bits(), v.bits()};
  };
  for_each_cpu_target([&] {
    const bool has_master = GetParam() != DType::kF32;
    EXPECT_EQ(run({0, kCount}, has_master, DType::kF32),
              run({0, 1, 17, 1000, 4096, kCount}, has_master, DType::kF32));
    const std::vector<std::int64_t> at_groups{0, 8, 24, 520, 1000, 1016, 4096, kCount};
    EXPECT_EQ(run({0, kCount}, has_master, DType::kBF16), run(at_groups, has_master, DType::kBF16));
    if (GetParam() != DType::kBF16) return;
    EXPECT_EQ(run({0, kCount}, false, DType::kBF16), run(at_groups, false, DType::kBF16));
  });
}

// A tensor-parallel rank holds some of the heads.
TEST_P(Elements, RopeDoesNotDependOnTheHeadsBesideIt) {
  for_each_cpu_target([&] {
    const Owned angles = random_tensor({2, 2, 11}, DType::kF32, 7);
    const Owned positions = random_ids(4, 0, 2, 9);
    const Owned whole = random_tensor({4, 3, 22}, GetParam(), 8), head({4, 1, 22}, GetParam());
    for (std::int64_t t = 0; t < 4; ++t) {
      const ConstTensor last = ConstTensor(whole).reshape({12, 22}).slice(3 * t + 2, 3 * t + 3);
      std::memcpy(head.get().slice(t, t + 1).data, last.data, last.bytes());
    }
    ops::rope_forward(*stream_, whole, angles, positions);
    ops::rope_forward(*stream_, head, angles, positions);
    for (std::int64_t t = 0; t < 4; ++t) {
      const ConstTensor last = ConstTensor(whole).reshape({12, 22}).slice(3 * t + 2, 3 * t + 3);
      EXPECT_EQ(std::memcmp(head.get().slice(t, t + 1).data, last.data, last.bytes()), 0);
    }
  });
}

TEST_P(Elements, OutputsMayAliasInputsWhereTheHeaderSaysSo) {
  for_each_cpu_target([&] {
    const Shape shape{17, 241};
    const auto fresh = [&](std::uint64_t key) { return random_tensor(shape, GetParam(), key); };
    const Owned a = fresh(1), b = fresh(2), c = fresh(3), out(shape, GetParam()),
                other(shape, GetParam()), rstd = random_tensor({17}, DType::kF32, 4, 0.1F, 1.0F),
                mean = random_tensor({17}, DType::kF32, 5), w = random_tensor({241}, GetParam(), 6);
    const auto expect_alias = [&](const char* name, const Owned& input, const auto& op) {
      op(input.get(), out.get());
      const Owned aliased = copy_of(input);
      op(aliased.get(), aliased.get());
      EXPECT_EQ(aliased.bits(), out.bits()) << name;
    };
    Stream& s = *stream_;
    const Owned statistics({17}, DType::kF32);
    expect_alias("rms_norm_forward", a, [&](ConstTensor x, Tensor y) {
      ops::rms_norm_forward(s, y, statistics, x, w, 1e-5F);
    });
    expect_alias("rms_norm_backward_input dy", b, [&](ConstTensor x, Tensor y) {
      ops::rms_norm_backward_input(
          s, {.dx_TD = y, .dy_TD = x, .x_TD = a, .w_D = w, .rstd_T = rstd, .add_TD = c});
    });
    expect_alias("rms_norm_backward_input add", c, [&](ConstTensor x, Tensor y) {
      ops::rms_norm_backward_input(
          s, {.dx_TD = y, .dy_TD = b, .x_TD = a, .w_D = w, .rstd_T = rstd, .add_TD = x});
    });
    expect_alias("layer_norm_backward_input dy", b, [&](ConstTensor x, Tensor y) {
      ops::layer_norm_backward_input(
          s, {.dx_TD = y, .dy_TD = x, .x_TD = a, .w_D = w, .mean_T = mean, .rstd_T = rstd});
    });
    expect_alias("swiglu_forward gate", a,
                 [&](ConstTensor x, Tensor y) { ops::swiglu_forward(s, y, x, b); });
    expect_alias("swiglu_forward up", a,
                 [&](ConstTensor x, Tensor y) { ops::swiglu_forward(s, y, b, x); });
    expect_alias("swiglu_backward_input gate", a, [&](ConstTensor x, Tensor y) {
      ops::swiglu_backward_input(
          s, {.dgate_TI = y, .dup_TI = other, .dout_TI = c, .gate_TI = x, .up_TI = b});
    });
    expect_alias("swiglu_backward_input up", b, [&](ConstTensor x, Tensor y) {
      ops::swiglu_backward_input(
          s, {.dgate_TI = other, .dup_TI = y, .dout_TI = c, .gate_TI = a, .up_TI = x});
    });
    expect_alias("gelu_forward", a, [&](ConstTensor x, Tensor y) { ops::gelu_forward(s, y, x); });
    expect_alias("gelu_backward_input dout", a,
                 [&](ConstTensor x, Tensor y) { ops::gelu_backward_input(s, y, x, b); });
    expect_alias("gelu_backward_input x", a,
                 [&](ConstTensor x, Tensor y) { ops::gelu_backward_input(s, y, b, x); });
    expect_alias("add", a, [&](ConstTensor x, Tensor y) { ops::add(s, y, x, b); });
    expect_alias("scale", a, [&](ConstTensor x, Tensor y) { ops::scale(s, y, x, 1.7F); });
    for (const auto reduce : {ops::tree_sum, ops::max_rows}) {
      const Owned rows = copy_of(a), row({241}, GetParam());
      reduce(s, row, rows);
      reduce(s, rows.get().slice(0, 1), rows);
      EXPECT_EQ(std::memcmp(rows.get().data, row.get().data, row.get().bytes()), 0);
    }
  });
}

TEST_P(Elements, TreeSumFollowsItsTreeForAnyNumberOfRows) {
  for_each_cpu_target([&] {
    for (const std::int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33, 100}) {
      const Owned parts = random_tensor({rows, 519}, GetParam(), 9), out({519}, GetParam()),
                  expected({519}, GetParam());
      ops::tree_sum(*stream_, out, parts);
      ref::tree_sum(*stream_, expected, parts);
      EXPECT_EQ(out.bits(), expected.bits()) << rows << " rows";
    }
  });
}

TEST_P(Elements, MaximumKeepsNan) {
  for_each_cpu_target([&] {
    Owned rows({3, 40}, GetParam()), out({40}, GetParam());
    for (std::int64_t i = 0; i < 120; ++i) rows.set(i, static_cast<float>(i % 7));
    for (std::int64_t r = 0; r < 3; ++r) rows.set(r * 40 + 11 * r, std::nanf(""));
    ops::max_rows(*stream_, out, rows);
    for (std::int64_t i = 0; i < 40; ++i) {
      EXPECT_EQ(std::isnan(out.at(i)), i % 11 == 0 && i < 33) << i;
    }
  });
}

TEST_P(Elements, NormalFillHasTheBitsOfNormalAt) {
  for (const std::int64_t column_begin : {0, 1, 2, 7}) {
    const Owned out({5, 9}, GetParam());
    ops::normal_fill(*stream_, {.out_RC = out,
                                .key = 3,
                                .row_begin = 2,
                                .column_begin = column_begin,
                                .global_columns = 17,
                                .mean = 0.25F,
                                .stddev = 0.02F});
    for (std::int64_t r = 0; r < 5; ++r) {
      for (std::int64_t c = 0; c < 9; ++c) {
        const auto index = static_cast<std::uint64_t>((2 + r) * 17 + column_begin + c);
        Owned expected({1}, GetParam());
        expected.set(0, 0.25F + 0.02F * normal_at(3, index));
        EXPECT_EQ(out.at(r * 9 + c), expected.at(0));
      }
    }
  }
}

TEST(ElementsOfIntegers, SumAndMaximumOfRows) {
  const auto stream = make_stream({}, "test");
  constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max();
  const Owned rows({3, 2}, DType::kI32), out({2}, DType::kI32);
  const std::int32_t values[] = {kMost, -5, 1, -7, 0, -6};
  std::memcpy(rows.get().data, values, sizeof(values));
  for (const OpTable* table : {&cpu::table, &reference_table()}) {
    table->max_rows(*stream, out, rows);
    EXPECT_EQ(out.get().as<std::int32_t>()[0], kMost);
    EXPECT_EQ(out.get().as<std::int32_t>()[1], -5);
    table->tree_sum(*stream, out, rows);
    EXPECT_EQ(out.get().as<std::int32_t>()[0], std::numeric_limits<std::int32_t>::min());
    EXPECT_EQ(out.get().as<std::int32_t>()[1], -18);
  }
}

TEST(ElementsOfAnyType, CopyMovesBytesAndNothingOntoItself) {
  const auto stream = make_stream({}, "test");
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16, DType::kI32, DType::kU8}) {
    const Owned in({3, 67}, dtype), out({3, 67}, dtype);
    for (std::size_t i = 0; i < in.get().bytes(); ++i) in.get().data[i] = std::byte(i * 7 % 251);
    ops::copy(*stream, out, in);
    EXPECT_EQ(out.bits(), in.bits()) << name_of(dtype);
    ops::copy(*stream, out, out);
    EXPECT_EQ(out.bits(), in.bits()) << name_of(dtype);
  }
}

// Every upper half with lower halves around the tie: the vector rounding is BFloat16's.
TEST(ElementsOfBfloat16, CastRoundsLikeBfloat16) {
  const auto stream = make_stream({}, "test");
  constexpr std::uint32_t kLow[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
  const std::int64_t count = 65536 * 6;
  const Owned in({count}, DType::kF32), out({count}, DType::kBF16), back({count}, DType::kF32);
  for (std::int64_t i = 0; i < count; ++i) {
    in.get().as<float>()[i] =
        std::bit_cast<float>((static_cast<std::uint32_t>(i / 6) << 16) | kLow[i % 6]);
  }
  for_each_cpu_target([&] {
    ops::cast(*stream, out, in);
    ops::cast(*stream, back, out);
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const BFloat16 expected(in.get().as<float>()[i]);
      const auto wide = std::bit_cast<std::uint32_t>(back.get().as<float>()[i]);
      wrong += out.get().as<BFloat16>()[i].bits != expected.bits ||
               wide != static_cast<std::uint32_t>(expected.bits) << 16;
    }
    EXPECT_EQ(wrong, 0);
  });
}

// Every step between two halves, with a tie and what is just beside it, and everything beyond.
TEST(ElementsOfFloat16, CastRoundsLikeFloat16) {
  const auto stream = make_stream({}, "test");
  constexpr std::uint32_t kLow[] = {0, 1, 0xfff, 0x1000, 0x1001, 0x1fff};
  const std::int64_t count = (std::int64_t{1} << 19) * 6;
  const Owned in({count}, DType::kF32), out({count}, DType::kF16), back({count}, DType::kF32);
  for (std::int64_t i = 0; i < count; ++i) {
    in.get().as<float>()[i] =
        std::bit_cast<float>((static_cast<std::uint32_t>(i / 6) << 13) | kLow[i % 6]);
  }
  for_each_cpu_target([&] {
    ops::cast(*stream, out, in);
    ops::cast(*stream, back, out);
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const Float16 expected(in.get().as<float>()[i]);
      wrong += out.get().as<Float16>()[i].bits != expected.bits ||
               std::bit_cast<std::uint32_t>(back.get().as<float>()[i]) !=
                   std::bit_cast<std::uint32_t>(static_cast<float>(expected));
    }
    EXPECT_EQ(wrong, 0);
  });
}

// The gradient norm sums blocks at fixed places of a parameter, wherever a shard begins.
TEST(BlockSumSquares, DependsOnTheBlockAlone) {
  const auto stream = make_stream({}, "test");
  constexpr std::int64_t kBlock = 1000;
  const Owned x = random_tensor({3777}, DType::kF32, 1), all({4}, DType::kF32),
              one({1}, DType::kF32);
  for_each_cpu_target([&] {
    ops::block_sum_squares(*stream, all, x, kBlock);
    for (std::int64_t b = 0; b < 4; ++b) {
      const std::int64_t end = std::min<std::int64_t>(3777, (b + 1) * kBlock);
      ops::block_sum_squares(*stream, one, ConstTensor(x).slice(b * kBlock, end), kBlock);
      EXPECT_EQ(one.at(0), all.at(b));
    }
    Owned broken = copy_of(x);
    broken.set(1999, std::numeric_limits<float>::infinity());
    broken.set(3776, std::nanf(""));
    ops::block_sum_squares(*stream, all, broken, kBlock);
    EXPECT_TRUE(std::isfinite(all.at(0)));
    EXPECT_TRUE(std::isinf(all.at(1)));
    EXPECT_TRUE(std::isnan(all.at(3)));
  });
}

// The error that kernels/cpu/activation.cc states, through silu(g) * 1.
TEST(Sigmoid, IsAccurateOverItsWholeRange) {
  const auto stream = make_stream({}, "test");
  const std::int64_t count = 40001;
  Owned gate({count}, DType::kF32), one({count}, DType::kF32);
  const Owned out({count}, DType::kF32);
  for (std::int64_t i = 0; i < count; ++i) {
    gate.set(i, -85.0F + 0.005F * static_cast<float>(i));
    one.set(i, 1.0F);
  }
  for_each_cpu_target([&] {
    ops::swiglu_forward(*stream, out, gate, one);
    double worst = 0.0;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto g = static_cast<double>(gate.at(i));
      if (g == 0.0) continue;
      const double exact = g / (1.0 + std::exp(-g));
      worst = std::max(worst, std::abs(static_cast<double>(out.at(i)) / exact - 1.0));
    }
    EXPECT_LT(worst, 4.0 * std::ldexp(1.0, -23));
  });
  gate.set(0, -1e30F);
  gate.set(1, 1e30F);
  gate.set(2, std::nanf(""));
  for_each_cpu_target([&] {
    ops::swiglu_forward(*stream, out, gate, one);
    EXPECT_LT(std::abs(out.at(0)), 1e-7F);
    EXPECT_EQ(out.at(1), 1e30F);
    EXPECT_TRUE(std::isnan(out.at(2)));
  });
}

}  // namespace
}  // namespace frugal::test
