// Any bytes as a tokenizer.json: read, or refused with Error(kData). What is read gives back any
// text.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "kernels/core/check.h"
#include "trainer/data/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    const frugal::Tokenizer tokenizer = frugal::Tokenizer::from_json(input, "fuzz");
    // The file is a text as good as any; what stands last in it varies most.
    const std::string_view text = input.substr(size - std::min<std::size_t>(size, 4096));
    std::vector<std::int32_t> ids;
    tokenizer.encode(text, ids);
    if (tokenizer.decode(ids) != text) std::abort();
  } catch (const frugal::Error& error) {
    if (error.kind() != frugal::ErrorKind::kData) throw;
  }
  return 0;
}
