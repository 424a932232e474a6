// A tokenizer wherever one is kept.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "trainer/data/tokenizer.h"

namespace frugal {

// path: a folder with tokenizer.json, or a GGUF file. Throws Error(kData).
Tokenizer load_tokenizer(const std::string& path);

// Name and content of the files that a folder would have for the tokenizer of a GGUF file. Throws
// Error(kData) where it has none that can be read.
std::vector<std::pair<std::string, std::string>> gguf_tokenizer_files(const std::string& path);

}  // namespace frugal
