#include "trainer/engine/train_loop.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "fmt/format.h"
#include "kernels/core/threads.h"
#include "kernels/ops/op_table.h"
#include "trainer/engine/algorithm_choices.h"
#include "trainer/engine/generate.h"
#include "trainer/engine/host.h"
#include "trainer/engine/plan_report.h"
#include "trainer/engine/run_identity.h"
#include "trainer/engine/same_facts.h"
#include "trainer/engine/score.h"
#include "trainer/engine/signals.h"
#include "trainer/metrics/flops.h"
#include "trainer/optim/learning_rate.h"

namespace frugal {
namespace {

LoaderOptions loader_options(const TrainingRun& run, const std::vector<DataSourceConfig>& sources) {
  const Config& config = run.config;
  LoaderOptions out{
      .sources = {},
      .tokenizer_digest = run.tokenizer->digest(),
      .token_bytes = {},
      .vocab_size = config.model.vocab_size.value(),
      .micro_batch_size = config.batch.micro_batch_size,
      .microbatches_per_step = config.batch.global_batch_size / config.batch.micro_batch_size,
      .sequence_length = config.data.sequence_length,
      .document_mask = config.data.document_mask,
      .shuffle = true,
      .seed = config.seed};
  for (const DataSourceConfig& source : sources)
    out.sources.push_back({source.path, source.weight});
  return out;
}

// Keeps the batch that the model reads from until the next.
BatchSource batches_of(const DataLoader& loader, std::int64_t step) {
  return [&loader, step, batch = std::make_shared<Batch>()](int index) {
    *batch = loader.microbatch(step, index);
    return HostMicrobatch{batch->inputs, batch->targets, batch->document_start};
  };
}

// What ranks compare.
std::string digest_of(const std::vector<Question>& questions) {
  std::string all;
  for (const Question& question : questions) {
    all += concat(question.prompt, '\n', question.answer, '\n');
    for (const std::string& choice : question.choices) all += choice + '\n';
  }
  return std::to_string(hash_of(all));
}

}  // namespace

TrainLoop::TrainLoop(const TrainingRun& run, DeviceMesh& mesh, const RankPlace& place,
                     RunFolder& folder, std::string_view transport)
    : run_(run),
      config_(run.config),
      mesh_(mesh),
      place_(place),
      device_(rank_device(run.config, place)),
      folder_(folder),
      control_(make_stream({}, "control", StreamMode::kInline)) {
  open_data();
  facts_ = {.root = folder.checkpoints(),
            .run_id = folder.run_id(),
            .digests = {.tokenizer = run.tokenizer->digest(),
                        .data = train_data_->digest(),
                        .base = run.base_digest}};
  require_same_facts(mesh_.world(),
                     {{"program version", FRUGAL_VERSION},
                      {"tokenizer", facts_.digests.tokenizer},
                      {"training data", facts_.digests.data},
                      {"model.init_from", run.init_from ? run.init_from->fingerprint() : ""},
                      {"validation data", validation_data_ ? validation_data_->digest() : ""},
                      {"eval.questions", digest_of(questions_)}},
                     "every host needs the same program and the same files");
  if (const std::string map = gpu_map(mesh_.world(), device_); !map.empty()) say(map);
  if (!transport.empty()) say(transport);
  measure_peak();
  const std::string others =
      choose_algorithms_once(config_, mesh_.world(), device_, folder_.path() + "/algorithms.txt");
  if (!others.empty()) say(others);
  model_ = std::make_unique<RankModel>(config_, mesh_, device_);
  resume();
  folder_.publish(config_);
  open_metrics();
}

void TrainLoop::say(std::string_view line) {
  if (mesh_.world().rank() != 0) return;
  if (metrics_) {
    metrics_->say(line);
  } else {
    fmt::print("{}\n", line);
    std::fflush(stdout);
    said_before_.emplace_back(line);
  }
}

void TrainLoop::let_console_finish() {
  if (metrics_) metrics_->let_console_finish();
}

void TrainLoop::open_data() {
  train_data_ = make_loader(loader_options(run_, config_.data.train));
  if (config_.eval.interval == 0) return;
  LoaderOptions options = loader_options(run_, config_.data.validation);
  options.microbatches_per_step = config_.eval.batches;
  options.shuffle = false;
  for (int id = 0; id < run_.tokenizer->vocab_size(); ++id) {
    options.token_bytes.push_back(static_cast<int>(run_.tokenizer->bytes_of(id).size()));
  }
  options.token_bytes.resize(static_cast<std::size_t>(options.vocab_size), 0);
  validation_data_ = make_loader(options);
  if (!config_.eval.questions.empty()) {
    questions_ = read_questions(config_.eval.questions);
    check_choices(*run_.tokenizer, questions_, config_.data.sequence_length);
  }
  for (int m = 0; m < config_.eval.batches; ++m) {
    validation_bytes_ += validation_data_->microbatch(0, m).target_bytes;
  }
}

void TrainLoop::resume() {
  const std::string from = checkpoint_to_resume(config_, facts_, mesh_.world(),
                                                [this](std::string_view line) { say(line); });
  if (from.empty()) {
    begin();
    return;
  }
  const CheckpointReader reader(from);
  if (lora()) model_->load_frozen(foreign_reader());
  progress_ = load_checkpoint(reader, *model_);
  saved_step_ = config_.checkpoint.resume == "auto" ? progress_.step : -1;
  std::string line = fmt::format("resumed at step {} from {}", progress_.step, from);
  const auto changes = config_changes(reader.info().config, dump_config(config_));
  for (std::size_t i = 0; i < changes.size(); ++i) {
    line += (i == 0 ? "; changed: " : ", ") + changes[i];
  }
  say(line);
}

// Weights of a new run.
void TrainLoop::begin() {
  progress_.loss_scale = first_loss_scale(config_.precision);
  if (!run_.init_from) return model_->initialize(config_.seed);
  if (lora()) {
    model_->initialize(config_.seed, foreign_reader());
  } else {
    model_->initialize(foreign_reader());
  }
  progress_.weights_dtype = weights_dtype(run_.init_from->type());
  say(concat("weights from ", run_.init_from->path(), ", ", run_.init_from->type()));
  if (!run_.adapter) return;
  model_->initialize([&](const TensorSlice& slice) { run_.adapter->read(slice); });
  say(concat("adapters from ", run_.adapter->folder()));
}

SliceReader TrainLoop::foreign_reader() const {
  return [this](const TensorSlice& slice) { run_.init_from->read(slice); };
}

bool TrainLoop::lora() const {
  return config_.lora.rank > 0;
}

// Before the model takes memory.
void TrainLoop::measure_peak() {
  mesh_.world().host_barrier();  // while the others sleep
  if (mesh_.world().rank() == 0) {
    const int ranks = mesh_.world().size();
    const DType dtype = compute_dtype(config_.precision);
    int devices = std::max(1, ranks / place_.ranks_on_cores);  // sets of cores like this one
    if (!on_host(device_)) {
      devices = std::max(1, ranks / std::max(1, place_.process_ranks / cu::device_count()));
    }
    const int own = compute_threads();
    set_compute_threads(available_cores());
    peak_flops_ = devices * measure_matmul_peak(device_, dtype);
    set_compute_threads(own);
  }
  mesh_.world().host_barrier();
}

void TrainLoop::open_metrics() {
  if (mesh_.world().rank() == 0) {
    metrics_ = std::make_unique<MetricsWriter>(
        MetricsWriter::Options{.run_dir = folder_.path(),
                               .total_steps = config_.train.steps,
                               .resume_step = progress_.step,
                               .console_interval = config_.logging.interval,
                               .tensorboard = config_.logging.tensorboard,
                               .said_before = std::move(said_before_)});
    metrics_->say(fmt::format("{}: {}, {}, {}, {} sequences in an epoch", folder_.path(),
                              parameters_text(config_), config_.precision.compute,
                              layout_text(config_.parallelism), train_data_->sequences()));
    if (config_.train.threads.value_or(0) > available_cores()) {
      metrics_->say(
          fmt::format("warning: train.threads is {}, but this process may run on {} cores only; "
                      "under mpirun say '--bind-to none'",
                      *config_.train.threads, available_cores()));
    }
  }
  mesh_.world().host_barrier();
}

bool TrainLoop::scales_loss() const {
  return config_.precision.compute == "fp16";
}

bool TrainLoop::due(int interval) const {
  return interval > 0 && (progress_.step % interval == 0 || progress_.step == config_.train.steps);
}

TrainingEnd TrainLoop::run() {
  if (progress_.step >= config_.train.steps) {
    say(fmt::format("nothing to do: step {} of {} is done; raise train.steps to go on",
                    progress_.step, config_.train.steps));
    return TrainingEnd::kFinished;
  }
  Requests requests;
  while (progress_.step < config_.train.steps && !requests.stop) {
    const auto begin = Clock::now();
    const StepResult result = update();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    requests = agree();
    report(result, seconds, requests);
    count(result);
    // Who asks to stop may not wait long.
    if (requests.stop) save_last();
    if (due(config_.eval.interval)) evaluate();
    if (due(config_.sample.interval)) sample();
    if (progress_.step == config_.train.steps) {
      save_last();
    } else if (!requests.stop && (due(config_.checkpoint.interval) || requests.save)) {
      save_and_go_on();
    }
  }
  if (progress_.step >= config_.train.steps) {
    say(fmt::format("finished: {} steps, {} tokens; everything is in {}", progress_.step,
                    progress_.tokens, folder_.path()));
    return TrainingEnd::kFinished;
  }
  const bool by_itself = config_.checkpoint.resume == "auto";
  say(fmt::format("stopped at step {} as a signal asked; the same command {}goes on from there",
                  progress_.step, by_itself ? "" : "with checkpoint.resume=auto "));
  return TrainingEnd::kStopped;
}

StepResult TrainLoop::update() {
  const std::int64_t step = progress_.step + 1;
  const float rate =
      learning_rate_at(config_.optimizer, config_.scheduler, config_.train.steps, step);
  // Skipped updates do not count for the optimizer's bias correction.
  StepResult result;
  try {
    result = model_->train_step(step - progress_.skipped, rate, progress_.loss_scale.value,
                                batches_of(*train_data_, step - 1));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kCommunication) throw;
    fail(ErrorKind::kCommunication, "step ", step, ": ", error.what());
  }
  progress_.step = step;
  progress_.tokens += result.target_tokens;
  return result;
}

void TrainLoop::count(const StepResult& result) {
  const float scale = progress_.loss_scale.value;
  progress_.settle(result.skipped, config_.precision);
  if (!result.skipped) return;
  if (scales_loss()) {
    say(fmt::format("step {}: overflow at loss scale {:.0f}, no update was made ({} in all)",
                    progress_.step, scale, progress_.skipped));
    if (progress_.loss_scale.value >= kLeastLossScale) return;
    fail(ErrorKind::kDiverged, "step ", progress_.step,
         ": the gradient is not finite at loss scale ", scale, " either, the least one, after ",
         progress_.skipped_in_a_row,
         " skipped updates in a row; lower optimizer.learning_rate and resume from the last "
         "checkpoint, or start anew with precision.compute=bf16 or fp32");
  }
  say(fmt::format("step {}: the gradient is not finite, no update was made ({} in all)",
                  progress_.step, progress_.skipped));
  if (progress_.skipped_in_a_row <= config_.train.max_skipped_updates) return;
  fail(ErrorKind::kDiverged, "step ", progress_.step, ": ", progress_.skipped_in_a_row,
       " updates in a row had a gradient that is not finite (train.max_skipped_updates is ",
       config_.train.max_skipped_updates,
       "); lower optimizer.learning_rate and resume from the last checkpoint");
}

void TrainLoop::report(const StepResult& result, double seconds, const Requests& requests) {
  if (!metrics_) return;
  // What a GPU holds changes no more once a step has run.
  if (!on_host(device_) && gpu_.memory_bytes == 0)
    gpu_ = device_runtime(device_.type).info(device_);
  const double rate = static_cast<double>(result.target_tokens) / seconds;
  const double flops =
      training_flops_per_token(config_.model, config_.lora, config_.data.sequence_length) * rate;
  const auto loss_scale = scales_loss() ? std::optional(progress_.loss_scale.value) : std::nullopt;
  metrics_->step({.step = progress_.step,
                  .loss = result.loss,
                  .grad_norm = result.grad_norm,
                  .learning_rate = learning_rate_at(config_.optimizer, config_.scheduler,
                                                    config_.train.steps, progress_.step),
                  .tokens = progress_.tokens,
                  .tokens_per_second = rate,
                  .step_time_s = seconds,
                  .mfu = flops / peak_flops_,
                  .peak_bytes = gpu_.memory_bytes > 0 ? gpu_.memory_bytes - gpu_.free_bytes
                                                      : requests.host_bytes,
                  .total_bytes = gpu_.memory_bytes > 0 ? gpu_.memory_bytes : usable_memory_bytes(),
                  .skipped = result.skipped,
                  .loss_scale = loss_scale});
}

void TrainLoop::evaluate() {
  const EvalResult result = model_->evaluate(batches_of(*validation_data_, 0));
  ChoiceScore choices;
  if (!questions_.empty()) {
    choices = score_choices(model_->inference(), *run_.tokenizer, questions_);
  }
  if (!metrics_) return;
  const double nats = static_cast<double>(result.loss) * static_cast<double>(result.target_tokens);
  metrics_->eval(
      {.step = progress_.step,
       .loss = result.loss,
       .bits_per_byte = nats / std::numbers::ln2 /
                        static_cast<double>(std::max<std::int64_t>(validation_bytes_, 1))});
  if (questions_.empty()) return;
  const auto share = [&](int right) { return static_cast<double>(right) / choices.questions; };
  metrics_->choices({.step = progress_.step,
                     .right = share(choices.right),
                     .right_per_byte = share(choices.right_normalised)});
}

void TrainLoop::sample() {
  std::vector<Prompt> prompts;
  for (const std::string& prompt : config_.sample.prompts) {
    prompts.push_back({.tokens = prompt_tokens(*run_.tokenizer, prompt)});
  }
  const auto texts = generate(model_->inference(), prompts,
                              {.max_new_tokens = config_.sample.max_new_tokens,
                               .temperature = config_.sample.temperature,
                               .top_k = config_.sample.top_k,
                               .top_p = config_.sample.top_p,
                               .vocab_size = run_.tokenizer->vocab_size(),
                               .seed = config_.seed,
                               .stop_tokens = run_.tokenizer->stop_tokens()});
  if (!metrics_) return;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    metrics_->sample(progress_.step, config_.sample.prompts[i], run_.tokenizer->decode(texts[i]));
  }
}

TrainLoop::Requests TrainLoop::agree() {
  const SignalRequests own = take_signal_requests();
  constexpr std::size_t kUnit = std::size_t{1} << 20U;  // MiB fit 32 bits
  const std::size_t share = resident_peak_bytes() / static_cast<std::size_t>(place_.process_ranks);
  std::array<std::int32_t, 3> votes{own.stop ? 1 : 0, own.save ? 1 : 0,
                                    static_cast<std::int32_t>(share / kUnit)};
  mesh_.world().all_reduce({reinterpret_cast<std::byte*>(votes.data()), {3}, DType::kI32, {}},
                           ReduceOp::kSum, *control_);
  control_->synchronize();
  const int hosts = std::max(1, mesh_.world().size() / place_.local_size);
  return {.stop = votes[0] > 0,
          .save = votes[1] > 0,
          .host_bytes = static_cast<std::size_t>(votes[2] / hosts) * kUnit};
}

bool TrainLoop::save(std::string& error) {
  if (saved_step_ == progress_.step) return true;
  const auto begin = Clock::now();
  if (!save_checkpoint(facts_, *model_, progress_, mesh_.world(), error)) return false;
  saved_step_ = progress_.step;
  say(fmt::format("step {}: checkpoint written in {:.1f} s", progress_.step,
                  std::chrono::duration<double>(Clock::now() - begin).count()));
  if (!error.empty()) say(fmt::format("warning: an old checkpoint stays: {}", error));
  return true;
}

void TrainLoop::save_and_go_on() {
  std::string error;
  if (save(error)) return;
  say(error + "; the run goes on with the last good one");
}

void TrainLoop::save_last() {
  std::string error;
  if (save(error)) return;
  fail(ErrorKind::kData, error,
       "; that was the last step of this start: mend it and start again from the last good one");
}

}  // namespace frugal
