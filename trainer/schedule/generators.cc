#include <algorithm>

#include "trainer/schedule/schedule.h"

namespace frugal {
namespace {

void check_sizes(int ranks, int microbatches) {
  if (ranks < 1 || microbatches < 1) {
    throw ScheduleError("a schedule needs at least one rank and one micro-batch");
  }
}

Schedule empty_schedule(std::string name, int ranks, int chunks, int microbatches) {
  check_sizes(ranks, microbatches);
  Schedule out;
  out.name = std::move(name);
  out.stages = ranks * chunks;
  out.microbatches = microbatches;
  for (int stage = 0; stage < out.stages; ++stage) out.rank_of_stage.push_back(stage % ranks);
  out.program.resize(static_cast<std::size_t>(ranks));
  return out;
}

void forward(std::vector<Action>& program, int stage, int microbatch) {
  program.push_back({ActionKind::kForward, static_cast<std::int16_t>(stage), microbatch});
}

void backward(std::vector<Action>& program, int stage, int microbatch) {
  program.push_back({ActionKind::kBackwardInput, static_cast<std::int16_t>(stage), microbatch});
  program.push_back({ActionKind::kBackwardWeight, static_cast<std::int16_t>(stage), microbatch});
}

}  // namespace

Schedule make_gpipe(int ranks, int microbatches) {
  Schedule out = empty_schedule("gpipe", ranks, 1, microbatches);
  for (int rank = 0; rank < ranks; ++rank) {
    auto& program = out.program[static_cast<std::size_t>(rank)];
    for (int m = 0; m < microbatches; ++m) forward(program, rank, m);
    for (int m = 0; m < microbatches; ++m) backward(program, rank, m);
  }
  return out;
}

Schedule make_one_f_one_b(int ranks, int microbatches) {
  Schedule out = empty_schedule("1f1b", ranks, 1, microbatches);
  for (int rank = 0; rank < ranks; ++rank) {
    auto& program = out.program[static_cast<std::size_t>(rank)];
    const int warmup = std::min(microbatches, ranks - rank - 1);
    for (int m = 0; m < warmup; ++m) forward(program, rank, m);
    for (int m = 0; m < microbatches; ++m) {
      if (m + warmup < microbatches) forward(program, rank, m + warmup);
      backward(program, rank, m);
    }
  }
  return out;
}

Schedule make_interleaved_1f1b(int ranks, int microbatches, int chunks) {
  if (chunks < 2) throw ScheduleError("interleaved_1f1b needs at least 2 stages on each rank");
  if (microbatches % ranks != 0) {
    throw ScheduleError("interleaved_1f1b needs a multiple of " + std::to_string(ranks) +
                        " micro-batches, got " + std::to_string(microbatches));
  }
  Schedule out = empty_schedule("interleaved_1f1b", ranks, chunks, microbatches);
  const int total = microbatches * chunks;
  // The k-th unit of work of a rank: micro-batches in groups of `ranks`, each group through every
  // chunk.
  const auto microbatch_of = [&](int k) { return k / (ranks * chunks) * ranks + k % ranks; };
  const auto chunk_of = [&](int k) { return k % (ranks * chunks) / ranks; };
  for (int rank = 0; rank < ranks; ++rank) {
    auto& program = out.program[static_cast<std::size_t>(rank)];
    const int warmup = std::min(total, (ranks - rank - 1) * 2 + (chunks - 1) * ranks);
    for (int k = 0; k < warmup; ++k) forward(program, chunk_of(k) * ranks + rank, microbatch_of(k));
    for (int k = 0; k < total; ++k) {
      const int ahead = k + warmup;
      if (ahead < total) forward(program, chunk_of(ahead) * ranks + rank, microbatch_of(ahead));
      backward(program, (chunks - 1 - chunk_of(k)) * ranks + rank, microbatch_of(k));
    }
  }
  return out;
}

Schedule make_forward_only(int ranks, int stages_per_rank, int microbatches) {
  Schedule out = empty_schedule("forward", ranks, stages_per_rank, microbatches);
  for (int m = 0; m < microbatches; ++m) {
    for (int stage = 0; stage < out.stages; ++stage) {
      forward(out.program[static_cast<std::size_t>(stage % ranks)], stage, m);
    }
  }
  return out;
}

std::vector<std::string> schedule_names() {
  return {"gpipe", "1f1b", "interleaved_1f1b", "zb_h1"};
}

Schedule make_schedule(std::string_view name, int ranks, int microbatches, int chunks) {
  if (name == "interleaved_1f1b") return make_interleaved_1f1b(ranks, microbatches, chunks);
  if (chunks != 1) throw ScheduleError(std::string(name) + " has one stage on each rank");
  if (name == "gpipe") return make_gpipe(ranks, microbatches);
  if (name == "1f1b") return make_one_f_one_b(ranks, microbatches);
  if (name == "zb_h1") return make_zero_bubble_h1(ranks, microbatches);
  throw ScheduleError("there is no schedule '" + std::string(name) + "'");
}

}  // namespace frugal
