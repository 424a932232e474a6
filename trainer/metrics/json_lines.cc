#include "trainer/metrics/json_lines.h"

#include <cmath>
#include <fstream>
#include <iterator>
#include <string_view>

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "trainer/metrics/replace_file.h"

namespace frugal {
namespace {

// The shortest digits that read back to the same float (or double), always with a point or an
// exponent: readers take "-0" for an integer and lose its sign. JSON has no numbers for what is not
// finite.
template <class Float>
std::string number(Float value) {
  if (std::isnan(value)) return "\"nan\"";
  if (std::isinf(value)) return value > 0 ? "\"inf\"" : "\"-inf\"";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

// line has no newline.
bool is_kept(std::string_view line, std::int64_t resume_step) {
  const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return false;
  const auto step = object.find("step");
  return step != object.end() && step->is_number_integer() &&
         step->get<std::int64_t>() <= resume_step;
}

// Returns the number of pieces dropped.
std::int64_t cut_off(const std::string& path, std::int64_t resume_step) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return 0;  // a first start
  const std::string old((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::string kept;
  std::int64_t dropped = 0;
  for (std::size_t begin = 0; begin < old.size();) {
    const std::size_t newline = old.find('\n', begin);
    const bool torn = newline == std::string::npos;
    const std::size_t end = torn ? old.size() : newline + 1;
    const auto line = std::string_view(old).substr(begin, end - begin);
    if (!torn && is_kept(line.substr(0, line.size() - 1), resume_step)) {
      kept += line;
    } else {
      ++dropped;
    }
    begin = end;
  }
  if (dropped > 0) replace_file(path, kept);
  return dropped;
}

}  // namespace

JsonLines::JsonLines(const std::string& path, std::int64_t resume_step)
    : lines_cut_(cut_off(path, resume_step)), file_(path) {}

void JsonLines::step(const StepMetrics& m) {
  file_.append(fmt::format(
      R"({{"step": {}, "loss": {}, "grad_norm": {}, "learning_rate": {}, )"
      R"("tokens": {}, "tokens_per_second": {}, "step_time_s": {}, "mfu": {}, )"
      R"("peak_bytes": {}, "skipped": {}{}}})"
      "\n",
      m.step, number(m.loss), number(m.grad_norm), number(m.learning_rate), m.tokens,
      number(m.tokens_per_second), number(m.step_time_s), number(m.mfu), m.peak_bytes, m.skipped,
      m.loss_scale ? fmt::format(R"(, "loss_scale": {})", number(*m.loss_scale)) : ""));
}

void JsonLines::eval(const EvalMetrics& m) {
  file_.append(fmt::format(R"({{"step": {}, "validation_loss": {}, "bits_per_byte": {}}})"
                           "\n",
                           m.step, number(m.loss), number(m.bits_per_byte)));
}

void JsonLines::choices(const ChoiceMetrics& m) {
  file_.append(fmt::format(R"({{"step": {}, "choices_right": {}, "choices_right_per_byte": {}}})"
                           "\n",
                           m.step, number(m.right), number(m.right_per_byte)));
}

}  // namespace frugal
