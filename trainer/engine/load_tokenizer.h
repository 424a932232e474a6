// A tokenizer wherever one is kept.
#pragma once

#include <string>

#include "trainer/data/tokenizer.h"

namespace frugal {

// path: a folder with tokenizer.json, or a GGUF file. Throws Error(kData).
Tokenizer load_tokenizer(const std::string& path);

// The tokenizer.json of a GGUF file. Throws Error(kData) where it has no tokenizer that can be
// read.
std::string gguf_tokenizer_json(const std::string& path);

}  // namespace frugal
