#include "trainer/checkpoint/folders.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

#include "fmt/format.h"

namespace frugal {
namespace {

constexpr std::string_view kPrefix = "step-";

// The whole text as a number without sign; -1 otherwise.
std::int64_t number(std::string_view text) {
  std::int64_t value = -1;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  return problem == std::errc() && end == text.data() + text.size() ? value : -1;
}

}  // namespace

std::string folder_name(std::int64_t step, int take) {
  std::string name = fmt::format("{}{:08}", kPrefix, step);
  if (take > 1) name += fmt::format(".{}", take);
  return name;
}

std::optional<CheckpointFolder> parse_folder_name(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string_view rest = std::string_view(name).substr(kPrefix.size());
  const std::size_t dot = rest.find('.');
  const std::int64_t step = number(rest.substr(0, dot));
  const std::int64_t take = dot == std::string_view::npos ? 1 : number(rest.substr(dot + 1));
  if (step < 0 || take < 1 || take > 1000000) return std::nullopt;
  CheckpointFolder folder{step, static_cast<int>(take), name};
  if (name != folder_name(step, folder.take)) return std::nullopt;  // one spelling each
  return folder;
}

std::vector<std::string> names_with_prefix(const std::string& root, const std::string& prefix) {
  std::vector<std::string> names;
  std::error_code problem;
  for (std::filesystem::directory_iterator entry(root, problem), end; !problem && entry != end;
       entry.increment(problem)) {
    std::string name = entry->path().filename().string();
    if (name.starts_with(prefix)) names.push_back(std::move(name));
  }
  if (problem && problem != std::errc::no_such_file_or_directory) {
    fail_system(root, "list", problem.value());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<CheckpointFolder> checkpoint_folders(const std::string& root) {
  std::vector<CheckpointFolder> folders;
  for (const std::string& name : names_with_prefix(root, std::string(kPrefix))) {
    if (auto folder = parse_folder_name(name)) folders.push_back(std::move(*folder));
  }
  std::sort(folders.begin(), folders.end(), [](const auto& a, const auto& b) {
    return a.step != b.step ? a.step > b.step : a.take > b.take;
  });
  return folders;
}

std::string remove_leftovers(FileOps& files, const std::string& root) {
  std::string first;
  for (const char* prefix : {"writing-", "removing-"}) {
    for (const std::string& name : names_with_prefix(root, prefix)) {
      const std::string problem = remove_folder(files, root + "/" + name);
      if (first.empty()) first = problem;
    }
  }
  return first;
}

}  // namespace frugal
