// Any bytes as a tokenizer.json: read, or refused with Error(kData). What is read gives back any
// text.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/core/check.h"
#include "trainer/data/nfc.h"
#include "trainer/data/tokenizer.h"

namespace {

bool has_all_bytes(const frugal::Tokenizer& tokenizer) {
  std::vector<std::int32_t> ids;
  for (int byte = 0; byte < 256; ++byte) {
    tokenizer.encode(std::string(1, static_cast<char>(byte)), ids);
  }
  return ids.size() == 256;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  try {
    const frugal::Tokenizer tokenizer = frugal::Tokenizer::from_json(input, "fuzz");
    // The file is a text as good as any; what stands last in it varies most.
    const std::string_view text = input.substr(size - std::min<std::size_t>(size, 4096));
    std::vector<std::int32_t> ids;
    tokenizer.encode(text, ids);
    const std::string back = tokenizer.decode(ids);
    if (back != text && has_all_bytes(tokenizer) && frugal::to_nfc(text).empty()) std::abort();
  } catch (const frugal::Error& error) {
    if (error.kind() != frugal::ErrorKind::kData) throw;
  }
  return 0;
}
