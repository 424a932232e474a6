// What people are told about a checkpoint.
#include <algorithm>

#include "fmt/format.h"
#include "trainer/checkpoint/checkpoint.h"

namespace frugal {
namespace {

std::string printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(),
      [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 127; }, '?');
  return text;
}

void add_fields(std::string& out, std::string_view title,
                const std::map<std::string, std::string>& fields) {
  if (fields.empty()) return;
  out += fmt::format("{}\n", title);
  for (const auto& [key, value] : fields) {
    out += fmt::format("  {:<32} {}\n", printable(key), printable(value));
  }
}

}  // namespace

std::string describe_checkpoint(const CheckpointReader& reader) {
  const CheckpointInfo& info = reader.info();
  std::string out =
      fmt::format("checkpoint {}\nstep       {}\nrun        {}\nlayout     {}\n",
                  reader.directory(), info.step, printable(info.run_id), printable(info.layout));
  add_fields(out, "identity", info.identity);
  add_fields(out, "state", info.state);
  std::int64_t total = 0;
  std::string lines;
  const auto tensors = reader.tensors();
  for (const CheckpointReader::Entry& tensor : tensors) {
    const std::int64_t bytes =
        tensor.global.numel() * static_cast<std::int64_t>(size_of(tensor.dtype));
    lines += fmt::format("  {:<48} {:<8} {:<20} {:>14} bytes\n", tensor.name, name_of(tensor.dtype),
                         to_string(tensor.global), bytes);
    total += bytes;
  }
  return out + fmt::format("tensors    {}, {} bytes\n", tensors.size(), total) + lines;
}

std::vector<std::string> identity_differences(const std::map<std::string, std::string>& checkpoint,
                                              const std::map<std::string, std::string>& run) {
  std::vector<std::string> differences;
  for (const auto& [field, value] : checkpoint) {
    const auto other = run.find(field);
    if (other == run.end()) {
      differences.push_back(fmt::format("{}: checkpoint {}, config has none", field, value));
    } else if (other->second != value) {
      differences.push_back(
          fmt::format("{}: checkpoint {}, config {}", field, value, other->second));
    }
  }
  for (const auto& [field, value] : run) {
    if (!checkpoint.contains(field)) {
      differences.push_back(fmt::format("{}: checkpoint has none, config {}", field, value));
    }
  }
  std::sort(differences.begin(), differences.end());
  return differences;
}

}  // namespace frugal
