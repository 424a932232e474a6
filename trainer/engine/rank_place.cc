#include "trainer/engine/rank_place.h"

#include "kernels/ops/op_table.h"

namespace frugal {

Device rank_device(const Config& config, const RankPlace& place) {
  if (config.device == "cpu") return {};
  if (cu::table() != nullptr) {
    return {DeviceType::kCuda, static_cast<std::int8_t>(place.local_rank)};
  }
  if (config.device == "auto") return {};
  fail(ErrorKind::kPreflight, "device: cuda, but this build has no CUDA backend; set device: cpu");
}

}  // namespace frugal
