// Byte-level byte-pair encoding: trained, stored and run here, in the format of Hugging Face's
// tokenizer.json.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace frugal {

// Immutable after loading; encode and decode are thread-safe.
class Tokenizer {
 public:
  // dir holds the tokenizer.json of one of the known families (README.md lists what is read), and
  // may hold the other files of a model. Throws Error(kData).
  static Tokenizer load(const std::string& dir);
  // ends: what a folder's other files would give as its ends.
  static Tokenizer from_json(std::string_view json, const std::string& name,
                             std::vector<std::int32_t> ends = {});

  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  int vocab_size() const;  // ids are 0 .. vocab_size - 1
  // The token that separates texts: "<|endoftext|>", or what the family calls it. Of a tokenizer
  // without one of these names, the first that the model's folder gives as its end.
  std::int32_t end_of_text() const;
  // Each ends what is generated: end_of_text and what tokenizer_config.json, generation_config.json
  // or config.json of the folder name, such as the end of a turn. Rising.
  const std::vector<std::int32_t>& stop_tokens() const;
  // What texts begin with, where the family has such a token and says so. encode does not add it.
  std::optional<std::int32_t> begin_of_text() const;
  // The id of an added token, such as "<|im_start|>".
  std::optional<std::int32_t> special(std::string_view content) const;
  // XXH3-128 of what decides the encoding (vocabulary, merges, added tokens, settings), as 32 hex
  // digits.
  const std::string& digest() const;

  // Appends the tokens of any bytes. Added tokens in the text are found by their content. A byte
  // that is no UTF-8 is split from others as U+FFFD would be and keeps its token, so that decode
  // gives the same bytes back (in Unicode's form C, if the tokenizer normalises). Some vocabularies
  // (SmolLM2's) have no token for bytes that hardly occur in texts: these are left out, as the
  // reference library does.
  void encode(std::string_view text, std::vector<std::int32_t>& out) const;
  // The same, but what looks like a special token is text: for text that is not to be trusted.
  void encode_as_text(std::string_view text, std::vector<std::int32_t>& out) const;
  // Special tokens by their names. Throws Error(kData) on an unknown id.
  std::string decode(std::span<const std::int32_t> ids) const;
  // Bytes of text that each id stands for, none for special tokens: bits per byte needs their
  // lengths.
  std::string_view bytes_of(std::int32_t id) const;

 private:
  struct Impl;
  class Encoder;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  void check_id(std::int32_t id) const;
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
