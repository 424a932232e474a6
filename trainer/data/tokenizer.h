// Byte-level byte-pair encoding: trained, stored and run here, in the format of Hugging Face's
// tokenizer.json.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace frugal {

// Immutable after loading; encode and decode are thread-safe.
class Tokenizer {
 public:
  // dir holds tokenizer.json (model BPE, ByteLevel pre-tokenizer, GPT-2's split pattern). Throws
  // Error(kData).
  static Tokenizer load(const std::string& dir);
  static Tokenizer from_json(std::string_view json, const std::string& name);

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  int vocab_size() const;            // ids are 0 .. vocab_size - 1
  std::int32_t end_of_text() const;  // "<|endoftext|>"
  // XXH3-128 of what decides the encoding (vocabulary, merges, special tokens), as 32 hex digits.
  const std::string& digest() const;

  void encode(std::string_view text, std::vector<std::int32_t>& out) const;  // appends
  std::string decode(
      std::span<const std::int32_t> ids) const;  // throws Error(kData) on an unknown id
  // Bytes that each id stands for: bits per byte needs their lengths.
  std::string_view bytes_of(std::int32_t id) const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct TokenizerTrainingOptions {
  int vocab_size = 4096;  // 256 bytes + merges + "<|endoftext|>"; at least 257
  int threads = 1;
  std::function<void(std::string_view)> progress;  // one line for people; may be empty
};

// Learns merges from the text of the files; ties are broken by the smaller pair, so the result
// depends on the text alone. Writes dir/tokenizer.json. Throws Error(kData) for a file that cannot
// be read, Error(kUsage) for a size that cannot be reached.
void train_tokenizer(std::span<const std::string> files, const std::string& dir,
                     const TokenizerTrainingOptions& options);

}  // namespace frugal
