// Bytes as a file of weights, and reading everything of what was opened.
#pragma once

#include <unistd.h>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "kernels/core/check.h"
#include "trainer/checkpoint/foreign_weights.h"

namespace frugal::fuzz {

// A folder of this process, in memory where there is such a file system; removed at the end.
class Scratch {
 public:
  Scratch() {
    const bool shared = std::filesystem::is_directory("/dev/shm");
    folder_ =
        (shared ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path()) /
        ("frugal_fuzz_" + std::to_string(getpid()));
    std::filesystem::create_directories(folder_);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  std::string path() const { return folder_.string(); }
  std::string write(const std::string& name, const void* data, std::size_t size) const {
    std::ofstream out(folder_ / name, std::ios::binary | std::ios::trunc);
    out.write(static_cast<const char*>(data), static_cast<std::streamsize>(size));
    return (folder_ / name).string();
  }

 private:
  std::filesystem::path folder_;
};

// Only errors that are the file's fault may come of it.
template <class Work>
void only_data_errors(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kData) throw;
  }
}

// Reads every tensor whole and its last element alone, if it is small; they must agree.
inline void read_all(const ForeignWeights& weights) {
  only_data_errors([&] { weights.check({}); });
  for (const ForeignWeights::Entry& entry : weights.tensors()) {
    if (entry.shape.numel() < 1 || entry.shape.numel() > 1 << 16) continue;
    only_data_errors([&] {
      std::vector<Float16> whole(static_cast<std::size_t>(entry.shape.numel()));
      weights.read({entry.name,
                    entry.shape,
                    {},
                    {reinterpret_cast<std::byte*>(whole.data()), entry.shape, DType::kF16, {}}});
      Float16 last;
      TensorSlice slice{entry.name,
                        entry.shape,
                        {},
                        {reinterpret_cast<std::byte*>(&last), entry.shape, DType::kF16, {}}};
      for (std::size_t d = 0; d < 4; ++d) {
        slice.offset[d] = entry.shape.dim[d] - 1;
        slice.local.shape.dim[d] = 1;
      }
      weights.read(slice);
      if (last.bits != whole.back().bits) std::abort();
    });
  }
}

}  // namespace frugal::fuzz
