// Which attention cuDNN has a plan for, on GPUs that are not here: cuDNN answers for a described
// device, with the toolkit's stub of the driver. Pins which cards need our own kernels, and shows
// when another version of cuDNN changes that. The program asks the device that it has, so nothing
// depends on this table.
#include <gtest/gtest.h>

#include "fmt/format.h"
#include "kernels/cuda/cudnn_attention.h"

namespace frugal::cu {
namespace {

struct Card {
  int capability;
  const char* name;
  int multiprocessors, shared_bytes, threads, blocks;  // the last three of one multiprocessor
};
constexpr Card kCards[] = {{75, "Tesla T4", 40, 65536, 1024, 16},
                           {80, "NVIDIA A100", 108, 166912, 2048, 32},
                           {86, "NVIDIA GeForce RTX 3090", 82, 101376, 1536, 16},
                           {89, "NVIDIA GeForce RTX 4090", 128, 101376, 1536, 24},
                           {90, "NVIDIA H200", 132, 232448, 2048, 32},
                           {120, "NVIDIA GeForce RTX 5090", 170, 101376, 1536, 24}};

std::string json_of(const Card& card) {
  return fmt::format(
      R"({{"deviceName": "{}", "cudaDeviceId": 0, "deviceVer": {}, "driverVer": 13000, )"
      R"("multiProcessorCount": {}, "totalGlobalMem": 25769803776, )"
      R"("maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], )"
      R"("regsPerBlock": 65536, "warpSize": 32, "maxSharedMemoryPerBlock": 49152, )"
      R"("maxSharedMemoryPerBlockOptin": {}, "reservedSharedMemoryPerBlock": 1024, )"
      R"("maxRegistersPerSM": 65536, "maxCtasPerSM": {}, "maxThreadsPerBlock": 1024, )"
      R"("maxThreadsPerSM": {}, "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1, )"
      R"("smClockRateKHz": 1700000, "memClockRateKHz": 2600000, "l2CacheSize": 41943040}})",
      card.name, card.capability * 10, card.multiprocessors, card.shared_bytes, card.blocks,
      card.threads);
}

// The cards, of those above, that have a plan.
std::string supported(const CudnnProblem& problem) {
  std::string out;
  for (const Card& card : kCards) {
    const std::string why = cudnn_lacks(problem, json_of(card), card.capability);
    if (why.empty()) {
      out += fmt::format("{}{}", out.empty() ? "" : " ", card.capability);
    } else {
      fmt::print("{}: {}\n", card.name, why);
    }
  }
  return out;
}

CudnnProblem llama(std::int64_t dim, bool backward) {
  return {.sequences = 2,
          .length = 4096,
          .heads = 32,
          .kv_heads = 8,
          .dim = dim,
          .value_dim = dim,
          .scale = 0.1F,
          .backward = backward};
}

TEST(CudnnSupport, ForwardBeginsWithAmpere) {
  EXPECT_EQ(supported(llama(128, false)), "80 86 89 90 120");
  EXPECT_EQ(supported(llama(64, false)), "80 86 89 90 120");
  EXPECT_EQ(supported(llama(256, false)), "80 86 89 90 120");
  CudnnProblem half = llama(128, false);
  half.dtype = DType::kF16;
  EXPECT_EQ(supported(half), "80 86 89 90 120");
}

TEST(CudnnSupport, DeterministicBackwardEndsAt128ButOnHopper) {
  EXPECT_EQ(supported(llama(128, true)), "80 86 89 90 120");
  EXPECT_EQ(supported(llama(64, true)), "80 86 89 90 120");
  EXPECT_EQ(supported(llama(256, true)), "90");
}

// Keys of 192 with values of 128, as latent attention (DeepSeek) has.
TEST(CudnnSupport, KeysAreWiderThanValues) {
  for (const bool backward : {false, true}) {
    const CudnnProblem latent{.sequences = 2,
                              .length = 4096,
                              .heads = 16,
                              .kv_heads = 16,
                              .dim = 192,
                              .value_dim = 128,
                              .scale = 0.07F,
                              .backward = backward};
    EXPECT_EQ(supported(latent), backward ? "90" : "80 86 89 90 120");
  }
}

// 25 heads of 64, sequences that no tile divides.
TEST(CudnnSupport, OddSizes) {
  for (const bool backward : {false, true}) {
    const CudnnProblem gpt2{.sequences = 3,
                            .length = 1000,
                            .heads = 25,
                            .kv_heads = 25,
                            .dim = 64,
                            .value_dim = 64,
                            .scale = 0.125F,
                            .backward = backward};
    EXPECT_EQ(supported(gpt2), "80 86 89 90 120");
  }
}

}  // namespace
}  // namespace frugal::cu
