#include "trainer/engine/checkpointing.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <chrono>
#include <filesystem>

#include "trainer/checkpoint/agreement.h"
#include "trainer/engine/load_runs.h"

namespace frugal {
namespace {

std::int64_t number_in(const CheckpointReader& reader, const std::string& key) {
  const auto& state = reader.info().state;
  const auto found = state.find(key);
  std::int64_t out = 0;
  const std::string text = found == state.end() ? "" : found->second;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size() || out < 0) {
    fail(ErrorKind::kData, reader.directory(), ": state '", key, "' is '", text,
         "', not a count; resume from another checkpoint");
  }
  return out;
}

LossScale loss_scale_in(const CheckpointReader& reader) {
  const std::int64_t value = number_in(reader, "loss_scale");
  if (!std::has_single_bit(static_cast<std::uint64_t>(value)) ||
      static_cast<float>(value) > kLargestLossScale) {
    fail(ErrorKind::kData, reader.directory(), ": state 'loss_scale' is ", value,
         ", not a power of two up to 2^30; resume from another checkpoint");
  }
  return {.value = static_cast<float>(value),
          .good_updates = number_in(reader, "loss_scale_good_updates")};
}

// What the loop goes on from, as a checkpoint has it.
std::map<std::string, std::string> state_of(const Progress& progress,
                                            const PrecisionConfig& precision) {
  std::map<std::string, std::string> out{
      {"tokens", std::to_string(progress.tokens)},
      {"skipped", std::to_string(progress.skipped)},
      {"skipped_in_a_row", std::to_string(progress.skipped_in_a_row)}};
  if (!progress.weights_dtype.empty()) out["weights_dtype"] = progress.weights_dtype;
  if (precision.compute == "fp16") {
    const LossScale& scale = progress.loss_scale;
    out["loss_scale"] = std::to_string(static_cast<std::int64_t>(scale.value));
    out["loss_scale_good_updates"] = std::to_string(scale.good_updates);
  }
  return out;
}

// The step up to which the checkpoints under root are the past of `path`: none when it lies
// elsewhere.
std::int64_t last_step_before(const std::string& root, const std::string& path) {
  const CheckpointReader reader(path);
  std::error_code failed;
  const auto folder = std::filesystem::weakly_canonical(path, failed);
  const auto own = std::filesystem::weakly_canonical(root, failed);
  const auto parent =
      folder.has_filename() ? folder.parent_path() : folder.parent_path().parent_path();
  return parent == own ? reader.info().step : -1;
}

// Rethrows on every rank what fails on any.
void agreed(ProcessGroup& world, const std::function<void()>& work) {
  if (const auto failure = run_agreed(world, work)) throw Error(failure->kind, failure->message);
}

// Throws, field by field, when the run is another one.
void check_identity(const CheckpointReader& reader, const Config& config,
                    const CheckpointFacts& facts) {
  auto saved = reader.info().identity;
  // What runs did before these keys.
  saved.try_emplace("precision.master", "true");
  saved.try_emplace("precision.optimizer_state", "fp32");
  for (const auto& [key, value] : flat_config(dump_config(Config{}))) {
    if (key.starts_with("model.rope_")) saved.try_emplace(key, value);
  }
  const auto differences = identity_differences(saved, run_identity(config, facts.digests));
  if (differences.empty()) return;
  std::string text;
  for (const std::string& line : differences) text += "\n  " + line;
  fail(ErrorKind::kData, reader.directory(),
       ": this checkpoint is of another run; restore these values, or set another run.name:", text);
}

// A run without checkpoints is a new one, unless some were put aside: then an earlier start has
// gone on from elsewhere and saved nothing since.
void refuse_to_forget(const std::string& root) {
  const std::filesystem::path own(root);
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(own.parent_path(), none)) {
    if (!entry.path().filename().string().starts_with(own.filename().string() + ".before-"))
      continue;
    fail(ErrorKind::kData, root, ": holds no checkpoint, but ", entry.path().string(),
         " does; name one with checkpoint.resume=PATH, or start over with checkpoint.resume=never");
  }
}

// Moves what is not the past of `from` to a folder beside the root; of a start afresh, the metrics
// too.
void put_aside(const std::string& root, const std::string& from,
               const std::function<void(std::string_view)>& say) {
  const bool fresh = from.empty();
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const std::string aside =
      concat(root, ".before-", std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
  if (put_checkpoints_aside(root, fresh ? -1 : last_step_before(root, from), aside) == 0) return;
  if (fresh) {
    const std::string metrics = "metrics.jsonl";
    std::error_code failed;
    std::filesystem::rename(std::filesystem::path(root).parent_path() / metrics,
                            std::filesystem::path(aside) / metrics, failed);
    if (failed && failed != std::errc::no_such_file_or_directory) {
      fail(ErrorKind::kData, aside, "/", metrics, ": cannot be moved there: ", failed.message());
    }
  }
  say(concat("checkpoint.resume is ", fresh ? "never" : from, ": ", fresh ? "older" : "other",
             " checkpoints of the run are now in ", aside));
}

}  // namespace

void Progress::settle(bool update_skipped, const PrecisionConfig& precision) {
  skipped += update_skipped ? 1 : 0;
  skipped_in_a_row = update_skipped ? skipped_in_a_row + 1 : 0;
  loss_scale = next_loss_scale(loss_scale, update_skipped, precision);
}

Progress load_checkpoint(const CheckpointReader& reader, RankModel& model) {
  load_runs(
      model.state_runs(false), [&](const TensorSlice& slice) { reader.read(slice); },
      model.compute(), model.staging());
  model.restored();
  const bool fp16 = model.config().precision.compute == "fp16";
  const auto& state = reader.info().state;
  const auto dtype = state.find("weights_dtype");
  return {.step = reader.info().step,
          .tokens = number_in(reader, "tokens"),
          .skipped = number_in(reader, "skipped"),
          .skipped_in_a_row = number_in(reader, "skipped_in_a_row"),
          .loss_scale = fp16 ? loss_scale_in(reader) : LossScale{},
          .weights_dtype = dtype == state.end() ? "" : dtype->second};
}

std::string weights_dtype(std::string_view file_type) {
  return file_type == "F32" ? "f32" : file_type == "BF16" ? "bf16" : "f16";
}

bool save_checkpoint(const CheckpointFacts& facts, const RankModel& model, const Progress& progress,
                     ProcessGroup& world, std::string& problem) {
  const Config& config = model.config();
  CheckpointWriter writer(facts.root,
                          {.step = progress.step,
                           .run_id = facts.run_id,
                           .layout = layout_text(config.parallelism),
                           .config = dump_config(config),
                           .identity = run_identity(config, facts.digests),
                           .state = state_of(progress, config.precision)},
                          {.stream = &model.compute(), .staging = model.staging()});
  for (const TensorRun& run : model.state_runs(true)) {
    for (TensorSlice& slice : slices_of_run(run)) writer.add(std::move(slice));
  }
  if (!writer.commit(world, problem)) return false;
  if (world.rank() == 0) {
    problem = remove_old_checkpoints(facts.root, config.checkpoint.keep_last,
                                     config.checkpoint.keep_every);
  }
  return true;
}

std::string checkpoint_to_resume(const Config& config, const CheckpointFacts& facts,
                                 ProcessGroup& world,
                                 const std::function<void(std::string_view)>& say) {
  const std::string& resume = config.checkpoint.resume;
  std::string from;
  if (resume == "auto") {
    from = find_usable_checkpoint(facts.root, world, say).value_or("");
    if (from.empty()) agreed(world, [&] { refuse_to_forget(facts.root); });
  } else if (resume != "never") {
    from = resume;
  }
  if (!from.empty()) {
    agreed(world, [&] {
      const CheckpointReader reader(from);
      check_identity(reader, config, facts);
      if (resume != "auto") reader.verify(world.rank(), world.size());
    });
  }
  if (resume == "auto") return from;
  agreed(world, [&] {
    if (world.rank() == 0) put_aside(facts.root, from, say);
  });
  return from;
}

}  // namespace frugal
