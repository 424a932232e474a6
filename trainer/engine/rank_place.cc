#include "trainer/engine/rank_place.h"

#include <map>
#include <sstream>
#include <utility>
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

struct SharedGpu {
  std::string name;
  std::vector<int> ranks;
};

}  // namespace

bool sees_own_gpus(ProcessGroup& world, const Config& config, const RankPlace& place) {
  if (config.device == "cpu" || place.process_ranks > 1) return false;
  std::string own = host_name() + "\n";
  for (int i = 0; cu::table() != nullptr && i < cu::device_count(); ++i) {
    const Device gpu{DeviceType::kCuda, static_cast<std::int8_t>(i)};
    own += device_runtime(gpu.type).id(gpu) + "\n";
  }
  // By host and GPU: how many processes see it.
  std::map<std::string, int> seen;
  const std::vector<std::string> texts = gather_texts(world, own);
  const auto each_gpu = [](const std::string& text, const auto& fn) {
    std::size_t begin = text.find('\n') + 1;
    const std::string host = text.substr(0, begin);
    for (std::size_t end = 0; (end = text.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      fn(host + text.substr(begin, end - begin));
    }
  };
  for (const std::string& text : texts)
    each_gpu(text, [&](const std::string& gpu) { ++seen[gpu]; });
  std::string answers;
  for (const std::string& text : texts) {
    bool alone = true;
    each_gpu(text, [&](const std::string& gpu) { alone = alone && seen[gpu] == 1; });
    answers += alone ? '1' : '0';
  }
  return broadcast_text(world, answers)[static_cast<std::size_t>(world.rank())] == '1';
}

Device rank_device(const Config& config, const RankPlace& place) {
  if (config.device == "cpu") return {};
  if (cu::table() == nullptr) {
    if (config.device == "auto") return {};
    fail(ErrorKind::kPreflight, "device: cuda, but ", cu::missing(), "; set device: cpu");
  }
  if (place.own_gpus) return {DeviceType::kCuda, 0};
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
    own = fmt::format("{}\n{}\n{}\n{} {}", host_name(), device.index,
                      device_runtime(device.type).id(device), info.name,
                      bytes_text(info.memory_bytes));
  }
  // By host, in the order of its first rank; there by GPU, as its processes number it and as it is.
  std::vector<std::string> hosts;
  std::map<std::string, std::map<std::pair<int, std::string>, SharedGpu>> gpus;
  const std::vector<std::string> texts = gather_texts(world, own);
  for (int rank = 0; rank < std::ssize(texts); ++rank) {
    std::istringstream lines(texts[static_cast<std::size_t>(rank)]);
    std::string host, index, id;
    if (!std::getline(lines, host)) continue;
    std::getline(lines, index);
    std::getline(lines, id);
    if (!gpus.contains(host)) hosts.push_back(host);
    SharedGpu& gpu = gpus[host][{std::stoi(index), id}];
    std::getline(lines, gpu.name);
    gpu.ranks.push_back(rank);
  }
  std::string out;
  for (const std::string& host : hosts) {
    std::map<int, int> same_index;
    for (const auto& [which, gpu] : gpus[host]) ++same_index[which.first];
    std::vector<std::string> parts;
    for (const auto& [which, gpu] : gpus[host]) {
      const auto& [index, id] = which;
      parts.push_back(fmt::format(
          "GPU {} ({}{}): {} {}", index, gpu.name, same_index[index] > 1 ? ", " + id : "",
          gpu.ranks.size() == 1 ? "rank" : "ranks", fmt::join(gpu.ranks, ", ")));
    }
    out += fmt::format("{}{}: {}", out.empty() ? "" : "\n", host, fmt::join(parts, "; "));
  }
  return out;
}

}  // namespace frugal
