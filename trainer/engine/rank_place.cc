#include "trainer/engine/rank_place.h"

#include <map>
#include <vector>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "kernels/core/device_runtime.h"
#include "kernels/ops/op_table.h"
#include "trainer/checkpoint/agreement.h"
#include "trainer/engine/host.h"
#include "trainer/engine/plan_report.h"

namespace frugal {
namespace {

constexpr int kOldestCard = 75;     // Turing: T4, RTX 20xx
constexpr int kFirstBf16Card = 80;  // Ampere

}  // namespace

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

std::string unable(const Config& config, Device device) {
  if (on_host(device)) return "";
  const DeviceInfo info = device_runtime(device.type).info(device);
  const std::string which = fmt::format("GPU {} ({}, compute capability {}.{})", device.index,
                                        info.name, info.capability / 10, info.capability % 10);
  if (info.capability < kOldestCard) {
    return which +
           " is too old: the kernels need 7.5, as a T4 has, or newer; set device: cpu, or "
           "CUDA_VISIBLE_DEVICES to newer GPUs";
  }
  if (config.precision.compute == "bf16" && info.capability < kFirstBf16Card) {
    return which + " has no bfloat16; set precision.compute: fp16";
  }
  return "";
}

std::string gpu_map(ProcessGroup& world, Device device) {
  std::string own;
  if (!on_host(device)) {
    const DeviceInfo info = device_runtime(device.type).info(device);
    own = fmt::format("{}\n{}\n{} {}", host_name(), device.index, info.name,
                      bytes_text(info.memory_bytes));
  }
  // By host, in the order of its first rank; by GPU there.
  std::vector<std::string> hosts;
  std::map<std::string, std::map<int, std::pair<std::string, std::vector<int>>>> gpus;
  const std::vector<std::string> texts = gather_texts(world, own);
  for (int rank = 0; rank < std::ssize(texts); ++rank) {
    const std::string& text = texts[static_cast<std::size_t>(rank)];
    if (text.empty()) continue;
    const std::size_t first = text.find('\n'), second = text.find('\n', first + 1);
    const std::string host = text.substr(0, first);
    if (!gpus.contains(host)) hosts.push_back(host);
    auto& gpu = gpus[host][std::stoi(text.substr(first + 1, second - first - 1))];
    gpu.first = text.substr(second + 1);
    gpu.second.push_back(rank);
  }
  std::string out;
  for (const std::string& host : hosts) {
    std::vector<std::string> parts;
    for (const auto& [index, gpu] : gpus[host]) {
      parts.push_back(fmt::format("GPU {} ({}): {} {}", index, gpu.first,
                                  gpu.second.size() == 1 ? "rank" : "ranks",
                                  fmt::join(gpu.second, ", ")));
    }
    out += fmt::format("{}{}: {}", out.empty() ? "" : "\n", host, fmt::join(parts, "; "));
  }
  return out;
}

}  // namespace frugal
