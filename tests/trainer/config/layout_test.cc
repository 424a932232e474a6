// What the config accepts is what schedules can be made for.
#include "tests/trainer/config/config_text.h"
#include "trainer/config/schema.h"
#include "trainer/schedule/schedule.h"

namespace frugal {
namespace {

TEST(Layout, TheConfigNamesTheSchedulesThatExist) {
  const auto& choices = config::find_key("parallelism", "schedule")->limits.choices;
  EXPECT_EQ(std::vector<std::string>(choices.begin(), choices.end()), schedule_names());
}

bool config_accepts(const std::string& schedule, int ranks, int microbatches, int chunks) {
  Config config;
  config.model.intermediate_size = 64;
  config.model.vocab_size = 100;
  config.model.num_hidden_layers = 100;
  config.batch = {.micro_batch_size = 1, .global_batch_size = microbatches};
  config.parallelism.schedule = schedule;
  config.parallelism.pipeline = ranks;
  config.parallelism.stages_per_rank = chunks;
  try {
    resolve_config(config, ranks);
  } catch (const ConfigError&) {
    return false;
  }
  return true;
}

bool schedule_exists(const std::string& schedule, int ranks, int microbatches, int chunks) {
  try {
    validate(insert_transfers(make_schedule(schedule, ranks, microbatches, chunks)));
  } catch (const ScheduleError&) {
    return false;
  }
  return true;
}

TEST(Layout, TheConfigAcceptsWhatHasASchedule) {
  int accepted = 0, refused = 0;
  for (const std::string& schedule : schedule_names()) {
    for (int ranks = 1; ranks <= 5; ++ranks) {
      for (int microbatches = 1; microbatches <= 8; ++microbatches) {
        for (int chunks = 1; chunks <= 3; ++chunks) {
          const bool exists = schedule_exists(schedule, ranks, microbatches, chunks);
          EXPECT_EQ(config_accepts(schedule, ranks, microbatches, chunks), exists)
              << schedule << " ranks " << ranks << " micro-batches " << microbatches << " chunks "
              << chunks;
          ++(exists ? accepted : refused);
        }
      }
    }
  }
  EXPECT_GT(accepted, 100);
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace frugal
