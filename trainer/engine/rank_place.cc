#include "trainer/engine/rank_place.h"

#include "kernels/ops/op_table.h"

namespace frugal {

Device rank_device(const Config& config, const RankPlace& place) {
  if (config.device == "cpu") return {};
  if (cu::table() == nullptr) {
    if (config.device == "auto") return {};
    fail(ErrorKind::kPreflight, "device: cuda, but ", cu::missing(), "; set device: cpu");
  }
  // Ranks that are threads share the GPUs; processes need one each.
  const int gpus = cu::device_count();
  const bool share = place.process_ranks > 1;
  if (!share && place.local_size > gpus) {
    fail(ErrorKind::kPreflight, "this host has ", gpus, gpus == 1 ? " GPU" : " GPUs", " and ",
         place.local_size, " ranks; start as many ranks as GPUs, or set device: cpu");
  }
  return {DeviceType::kCuda, static_cast<std::int8_t>(place.local_rank % gpus)};
}

}  // namespace frugal
