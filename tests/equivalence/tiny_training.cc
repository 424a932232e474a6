#include "tests/equivalence/tiny_training.h"

#include <mutex>
#include <stdexcept>

#include "comm/world.h"
#include "kernels/core/rng.h"
#include "kernels/core/threads.h"
#include "trainer/engine/rank_model.h"

namespace frugal::test {

std::string describe(const Layout& l) {
  return concat("data ", l.data, " pipeline ", l.pipeline, " tensor ", l.tensor, " ", l.schedule,
                " stages ", l.stages_per_rank, " zero ", l.zero_stage,
                l.recompute ? " recompute" : "", l.stage_layers.empty() ? "" : " uneven");
}

Config tiny_config(const std::string& family, const std::string& precision) {
  Config config;
  config.model.model_type = family;
  config.model.hidden_size = 32;
  config.model.intermediate_size = 48;
  config.model.num_hidden_layers = 4;
  config.model.num_attention_heads = 4;
  config.model.num_key_value_heads = family == "gpt2" ? 4 : 2;
  config.model.head_dim = 8;
  config.model.vocab_size = 101;  // odd: padded inside
  config.model.max_position_embeddings = 16;
  config.model.tie_word_embeddings = family == "gpt2";
  config.data.sequence_length = 8;
  config.data.document_mask = true;
  config.batch = {.micro_batch_size = 1, .global_batch_size = 16};
  config.precision.compute = precision;
  config.train.lanes = 8;
  return config;
}

Config with_layout(Config config, const Layout& l) {
  config.parallelism.data = l.data;
  config.parallelism.pipeline = l.pipeline;
  config.parallelism.tensor = l.tensor;
  config.parallelism.schedule = l.schedule;
  config.parallelism.stages_per_rank = l.stages_per_rank;
  config.parallelism.zero_stage = l.zero_stage;
  config.parallelism.stage_layers = l.stage_layers;
  config.memory.recompute = l.recompute ? "full" : "none";
  return config;
}

Outcome train_rank(const Config& config, std::unique_ptr<ProcessGroup> world, StreamMode compute) {
  Outcome out;
  const auto& p = config.parallelism;
  set_compute_threads(1);
  DeviceMesh mesh(std::move(world), {.pipeline = p.pipeline, .data = *p.data, .tensor = p.tensor});
  RankModel model(config, mesh, compute);
  model.initialize(7);
  for (int step = 0; step < kSteps; ++step) {
    std::vector<std::int32_t> inputs, targets, documents;
    const StepResult result = model.train_step(step + 1, 1e-2F, [&](int index) {
      inputs.clear(), targets.clear(), documents.clear();
      for (std::uint64_t t = 0; t < 8; ++t) {
        const auto words =
            philox4x32(static_cast<std::uint64_t>(step), static_cast<std::uint64_t>(index), t);
        inputs.push_back(static_cast<std::int32_t>(words[0] % 101));
        targets.push_back(words[1] % 5 == 0 ? -1 : static_cast<std::int32_t>(words[1] % 101));
        documents.push_back(t < 5 ? 0 : 5);
      }
      return HostMicrobatch{inputs, targets, documents};
    });
    out.losses.push_back(result.loss);
    out.norms.push_back(result.grad_norm);
  }
  if (mesh.coordinate(Axis::kData) != 0) return out;
  for (ParamId id = 0; id < model.params().size(); ++id) {
    const Tensor weight = model.params().weight(id);
    out.weights[model.params().entry(id).spec.name].assign(weight.data,
                                                           weight.data + weight.bytes());
  }
  return out;
}

Outcome train(const Config& config, StreamMode compute) {
  Outcome out;
  std::mutex mutex;
  const auto& p = config.parallelism;
  run_ranks_as_threads(*p.data * p.pipeline * p.tensor, [&](std::unique_ptr<ProcessGroup> world) {
    const bool first = world->rank() == 0;
    Outcome own = train_rank(config, std::move(world), compute);
    const std::lock_guard lock(mutex);
    if (first) {
      out.losses = own.losses;
      out.norms = own.norms;
    }
    if (p.tensor > 1) return;
    for (const auto& [name, bits] : own.weights) {
      const auto [found, added] = out.weights.emplace(name, bits);
      if (!added && found->second != bits)
        throw std::runtime_error("the two uses of " + name + " differ");
    }
  });
  return out;
}

}  // namespace frugal::test
