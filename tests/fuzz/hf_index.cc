// Any bytes as the model.safetensors.index.json of a folder: no file but plain names in the folder
// may be asked for.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "kernels/core/check.h"
#include "trainer/checkpoint/safetensors_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    for (const auto& shard : frugal::parse_safetensors_index(text, "fuzz")) {
      const bool plain = !shard.file.empty() && shard.file.size() <= 255 && shard.file != "." &&
                         shard.file != ".." && shard.file.find('/') == std::string::npos &&
                         shard.file.find('\0') == std::string::npos;
      if (!plain || shard.tensors.empty()) std::abort();
    }
  } catch (const frugal::Error& error) {
    if (error.kind() != frugal::ErrorKind::kData) throw;
  }
  return 0;
}
