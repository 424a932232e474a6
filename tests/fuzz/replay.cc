// Runs a fuzz target on files instead of under libFuzzer:
//   fuzz_NAME FILE_OR_FOLDER...
// Each input is run whole and cut short in a few places: what is cut off is where readers go wrong.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

// A copy of exactly this size: the sanitizers see a read behind its end.
void run_copy(const std::string& content, std::size_t size) {
  const std::vector<std::uint8_t> bytes(content.begin(),
                                        content.begin() + static_cast<std::ptrdiff_t>(size));
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

void run_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string content((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  run_copy(content, content.size());
  constexpr std::size_t kCuts = 16;
  for (std::size_t cut = 0; cut < kCuts; ++cut) run_copy(content, content.size() * cut / kCuts);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argc; ++i) {
    if (std::filesystem::is_directory(argv[i])) {
      for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
        files.push_back(entry.path());
      }
    } else {
      files.emplace_back(argv[i]);
    }
  }
  std::ranges::sort(files);
  for (const auto& file : files) run_file(file);
  std::printf("%zu inputs\n", files.size());
  return files.empty() ? 1 : 0;
}
