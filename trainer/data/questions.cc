#include "trainer/data/questions.h"

#include "kernels/core/check.h"
#include "nlohmann/json.hpp"
#include "trainer/data/chat_samples.h"
#include "trainer/data/files.h"

namespace frugal {
namespace {

using nlohmann::json;

Question question_of(const json& line, const std::string& where) {
  constexpr const char* kForm =
      R"(; expected {"prompt": "...", "choices": ["...", "..."], "answer": 0})";
  if (!line.is_object()) fail(ErrorKind::kData, where, ": not a JSON object", kForm);
  for (const auto& [key, value] : line.items()) {
    if (key != "prompt" && key != "choices" && key != "answer") {
      fail(ErrorKind::kData, where, ": unknown key ", json(key).dump(-1, ' ', true), kForm);
    }
  }
  const json prompt = line.value("prompt", json()), choices = line.value("choices", json()),
             answer = line.value("answer", json());
  if (!prompt.is_string()) fail(ErrorKind::kData, where, ": prompt is no text", kForm);
  Question out{.prompt = prompt.get<std::string>(), .choices = {}};
  for (const json& choice : choices) {
    if (!choice.is_string() || choice.get_ref<const std::string&>().empty()) {
      fail(ErrorKind::kData, where, ": choice ", out.choices.size(), " is no text", kForm);
    }
    out.choices.push_back(choice.get<std::string>());
  }
  if (!choices.is_array() || out.choices.size() < 2) {
    fail(ErrorKind::kData, where, ": fewer than two choices", kForm);
  }
  if (!answer.is_number_unsigned() || answer.get<std::uint64_t>() >= out.choices.size()) {
    fail(ErrorKind::kData, where, ": answer is ", answer.dump(-1, ' ', true), ", expected 0 to ",
         out.choices.size() - 1);
  }
  out.answer = answer.get<int>();
  return out;
}

}  // namespace

std::vector<Question> read_questions(const std::string& path) {
  const MappedFile file(path);
  std::vector<Question> out;
  SampleLines lines(file.text(), path);
  for (std::string_view line; lines.next(line);) {
    out.push_back(question_of(json::parse(line, nullptr, false), lines.place()));
  }
  if (out.empty()) fail(ErrorKind::kData, path, ": holds no questions");
  return out;
}

}  // namespace frugal
