// Token shards of conversations, for supervised fine-tuning: only answers are learned.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "trainer/data/chat_samples.h"

namespace frugal {

struct ChatBuildOptions {
  std::string output_dir;  // gets train/ and validation/
  SampleKind kind = SampleKind::kChat;
  std::string chat_format;            // a name of chat_format.h; empty: the tokenizer's
  int sequence_length = 1024;         // tokens; data.sequence_length must be the same
  double validation_fraction = 0.05;  // of the samples, from the end
  std::int64_t shard_tokens = std::int64_t{1} << 27;
  std::function<void(std::string_view)> progress;  // one line a second; may be empty
};

struct ChatBuildReport {
  std::string chat_format;
  std::int64_t samples = 0;    // written
  std::int64_t too_long = 0;   // left out: more tokens than a sequence has
  std::int64_t tokens = 0;     // of the samples
  std::int64_t learned = 0;    // of these, those of answers
  std::int64_t sequences = 0;  // that the samples were packed into
};

// Packs the samples of JSONL files into sequences, several into one where they fit, never one
// across two: each sample goes to the fullest of up to 64 open sequences that has room for it.
// Samples longer than a sequence are left out and counted. The output depends on the input alone.
// Throws Error(kData) with file and line for a sample that cannot be read, Error(kUsage) for
// options that cannot be or an output that is there already.
ChatBuildReport build_chat_shards(std::span<const std::string> files, const Tokenizer& tokenizer,
                                  const ChatBuildOptions& options);

}  // namespace frugal
