// A conversation with a model on the terminal.
#pragma once

#include <string>

#include "comm/process_group.h"
#include "trainer/data/chat_format.h"
#include "trainer/data/tokenizer.h"
#include "trainer/engine/generate.h"

namespace frugal::cli {

struct ChatOptions {
  std::string format;  // a name of chat_format.h; empty: the tokenizer's
  std::string system;  // what the conversation begins with; empty: nothing
  SamplingOptions sampling;
};

// Reads what the user says, a line at a time, from rank 0's standard input to its end, and prints
// each answer as it comes. The cache keeps what was said before; what no longer fits is forgotten,
// and that is said. Collective.
void chat(InferenceModel& model, const Tokenizer& tokenizer, const ChatOptions& options,
          ProcessGroup& world);

}  // namespace frugal::cli
