// Loading weights from a folder of Hugging Face's beside dd, which reads the same file and keeps
// nothing: cold, with the file out of the system's memory, and warm. Contenders take turns;
// medians. Loading takes new memory each time and gives it back, dd begins a process: both are
// timed.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "fmt/format.h"
#include "kernels/core/arena.h"
#include "kernels/core/threads.h"
#include "tests/bench/timing.h"
#include "trainer/checkpoint/foreign_weights.h"
#include "trainer/engine/load_runs.h"

namespace frugal {
namespace {

using bench::median;
using bench::seconds_of;

constexpr std::int64_t kRows = 4096, kColumns = 2048;  // 16 MiB of bf16
constexpr std::int64_t kTensorBytes = kRows * kColumns * 2;

// A folder that goes with it.
class Folder {
 public:
  explicit Folder(std::filesystem::path path) : path_(std::move(path)) {
    if (!std::filesystem::create_directory(path_)) {
      throw std::runtime_error(path_.string() + " is there already");
    }
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string name_of_tensor(int index) {
  return fmt::format("model.layers.{}.mlp.up_proj.weight", index);
}

void write_model(const std::filesystem::path& folder, int tensors) {
  std::ofstream(folder / "config.json")
      << R"({"model_type":"llama","hidden_size":2048,"num_hidden_layers":)" << tensors << "}";
  std::string header = "{";
  for (int t = 0; t < tensors; ++t) {
    header += fmt::format(R"({}"{}":{{"dtype":"BF16","shape":[{},{}],"data_offsets":[{},{}]}})",
                          t == 0 ? "" : ",", name_of_tensor(t), kRows, kColumns, t * kTensorBytes,
                          (t + 1) * kTensorBytes);
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::ofstream file(folder / "model.safetensors", std::ios::binary);
  const std::uint64_t length = header.size();
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file << header;
  std::vector<std::uint32_t> data(kTensorBytes / sizeof(std::uint32_t));
  std::uint32_t bits = 1;
  for (int t = 0; t < tensors; ++t) {
    for (std::uint32_t& word : data) word = bits = bits * 1664525 + 1013904223;  // no zeros to skip
    file.write(reinterpret_cast<const char*>(data.data()), kTensorBytes);
  }
  if (!file.flush()) throw std::runtime_error(folder.string() + ": the disk is full");
}

// Throws where pages stay, as on a file system in memory.
void drop_from_memory(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_RDONLY);
  const auto size = std::filesystem::file_size(path);
  void* map = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  const bool dropped = file >= 0 && map != MAP_FAILED && fdatasync(file) == 0 &&
                       posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0;
  std::vector<unsigned char> pages((size + 4095) / 4096);
  const bool asked = dropped && mincore(map, size, pages.data()) == 0;
  const auto left = std::ranges::count_if(pages, [](unsigned char page) { return page % 2 != 0; });
  if (map != MAP_FAILED) munmap(map, size);
  if (file >= 0) close(file);
  if (!asked || left > std::ssize(pages) / 100) {
    throw std::runtime_error(path.string() +
                             " cannot be put out of memory: choose another --folder");
  }
}

// All of the folder into memory that nobody has touched, as `to`.
void load(const std::filesystem::path& folder, int tensors, DType to) {
  const auto weights = ForeignWeights::open(folder);
  Arena arena({}, static_cast<std::size_t>(tensors) * kRows * kColumns * size_of(to));
  std::vector<TensorRun> runs;
  for (int t = 0; t < tensors; ++t) {
    const std::string name = name_of_tensor(t);
    runs.push_back({.name = name,
                    .global = {kRows, kColumns},
                    .extent = {kRows, kColumns},
                    .begin = 0,
                    .end = kRows * kColumns,
                    .local = arena.allocate(name, {kRows * kColumns}, to)});
  }
  const auto stream = make_stream({}, "load");
  load_runs(runs, [&](const TensorSlice& slice) { weights->read(slice); }, *stream, {});
}

void run(const std::filesystem::path& path, int megabytes, int rounds) {
  const Folder made(path);
  const std::filesystem::path& folder = made.path();
  const int tensors = std::max(1, static_cast<int>((std::int64_t{megabytes} << 20) / kTensorBytes));
  write_model(folder, tensors);
  const std::filesystem::path file = folder / "model.safetensors";
  const std::string dd = "dd if='" + file.string() + "' of=/dev/null bs=1M status=none";
  struct Contender {
    std::string name;
    std::function<void()> work;
    std::vector<double> seconds = {};
  };
  const int most = available_cores();
  std::vector<Contender> contenders{{"dd", [&] {
                                       if (std::system(dd.c_str()) != 0)
                                         throw std::runtime_error(dd);
                                     }}};
  for (const int threads : {1, 2, 4}) {
    if (threads > most) continue;
    for (const DType to : {DType::kBF16, DType::kF32}) {
      contenders.push_back(
          {fmt::format("{} threads, as {}", threads, name_of(to)), [&, threads, to] {
             set_compute_threads(threads);
             load(folder, tensors, to);
           }});
    }
  }
  for (const bool cold : {true, false}) {
    for (int round = 0; round <= rounds; ++round) {  // the first one warms up
      for (Contender& contender : contenders) {
        if (cold) drop_from_memory(file);
        const double seconds = seconds_of(contender.work);
        if (round == 0) contender.seconds.clear();
        if (round > 0) contender.seconds.push_back(seconds);
      }
    }
    const double base = median(contenders[0].seconds);
    for (const Contender& contender : contenders) {
      const double seconds = median(contender.seconds);
      fmt::print("{} {:<22} {:6.0f} MB/s, {:.2f} of dd\n", cold ? "cold" : "warm", contender.name,
                 1e-6 * static_cast<double>(tensors * kTensorBytes) / seconds, base / seconds);
    }
  }
}

}  // namespace
}  // namespace frugal

int main(int argc, char** argv) {
  std::string folder = "load_bench";
  int megabytes = 1024, rounds = 5;
  CLI::App app("Loading weights beside dd");
  app.add_option("--folder", folder, "made for the model, and removed again");
  app.add_option("--megabytes", megabytes)->check(CLI::PositiveNumber);
  app.add_option("--rounds", rounds)->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    frugal::run(folder, megabytes, rounds);
  } catch (const std::exception& error) {
    fmt::print(stderr, "load_bench: {}\n", error.what());
    return 1;
  }
}
