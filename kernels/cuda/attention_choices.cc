// What a GPU computes a run's attention with.
#include "kernels/core/device_runtime.h"
#include "kernels/cuda/attention.h"

namespace frugal::cu {

AlgorithmChoices attention_choices(Device device, const std::set<PlannedAttention>& attentions) {
  AlgorithmChoices out;
  const auto stream = make_stream(device, "attention's choice");
  const std::string name = device_runtime(device.type).info(device).name;
  for (const PlannedAttention& attention : attentions) {
    out.emplace(concat(name, "; attention; ", text_of(attention)),
                attention_implementation(*stream, attention));
  }
  return out;
}

}  // namespace frugal::cu
