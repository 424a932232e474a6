// Multiple-choice questions, a JSON object on each line.
#pragma once

#include <string>
#include <vector>

namespace frugal {

struct Question {
  std::string prompt;
  std::vector<std::string> choices;  // two at least, none empty
  int answer = 0;                    // of them
};

// Lines {"prompt": text, "choices": [text, ...], "answer": index}; blank ones are passed over.
// Throws Error(kData) with the number of the line.
std::vector<Question> read_questions(const std::string& path);

}  // namespace frugal
