// Speed of tokenizer training, encoding and data build on a text of yours:
//   tokenizer_bench FILE [VOCAB_SIZE]
// or of encoding with a tokenizer of yours (scripts/compare_tokenizers.py sets it beside another):
//   tokenizer_bench FILE FOLDER
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "kernels/core/check.h"
#include "trainer/data/token_shards.h"
#include "trainer/data/tokenizer.h"

namespace frugal {
namespace {

// Best of several: what disturbs a measurement only makes it slower.
template <class Work>
double best_seconds(int rounds, const Work& work) {
  double best = 1e30;
  for (int i = 0; i < rounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    best = std::min(best, taken.count());
  }
  return best;
}

void measure_encode(const std::string& text, const std::string& dir) {
  const Tokenizer tokenizer = Tokenizer::load(dir);
  std::vector<std::int32_t> ids;
  const double seconds = best_seconds(5, [&] {
    ids.clear();
    tokenizer.encode(text, ids);
  });
  const auto bytes = static_cast<double>(text.size());
  std::printf("encode  1 thread: %.1f MB/s, %.2f bytes per token\n", bytes / 1e6 / seconds,
              bytes / static_cast<double>(ids.size()));
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void measure(const std::string& path, int vocab_size) {
  const std::string text = read_file(path);
  const double megabytes = static_cast<double>(text.size()) / 1e6;
  const auto scratch = std::filesystem::temp_directory_path() / "frugal_tokenizer_bench";
  std::filesystem::create_directories(scratch);
  const std::string dir = (scratch / "tokenizer").string();
  const std::vector<std::string> files = {path};
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));

  for (int threads = 1; threads <= cores; threads *= 2) {
    const TokenizerTrainingOptions options{.vocab_size = vocab_size, .threads = threads};
    const double seconds = best_seconds(3, [&] { train_tokenizer(files, dir, options); });
    std::printf("train   %d threads: %.2f s for %.1f MB, %d tokens\n", threads, seconds, megabytes,
                vocab_size);
  }
  measure_encode(text, dir);

  // A single file large enough for the threads to have something to share.
  const std::string large = (scratch / "large.txt").string();
  std::ofstream out(large, std::ios::binary);
  const int copies = static_cast<int>(200 / megabytes) + 1;
  for (int i = 0; i < copies; ++i) out << text;
  out.close();
  for (int threads = 1; threads <= cores; threads *= 2) {
    DataBuildOptions options;
    options.output_dir = (scratch / "shards").string();
    options.threads = threads;
    const double taken = best_seconds(3, [&] {
      std::filesystem::remove_all(options.output_dir);
      build_token_shards(std::vector{large}, Tokenizer::load(dir), options);
    });
    std::printf("build   %d threads: %.1f MB/s (%.0f MB in one file, flushed to disk)\n", threads,
                megabytes * copies / taken, megabytes * copies);
  }
  std::filesystem::remove_all(scratch);
}

}  // namespace
}  // namespace frugal

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: tokenizer_bench FILE [VOCAB_SIZE | FOLDER]\n");
    return 2;
  }
  try {
    if (argc > 2 && std::filesystem::is_directory(argv[2])) {
      frugal::measure_encode(frugal::read_file(argv[1]), argv[2]);
    } else {
      frugal::measure(argv[1], argc > 2 ? std::atoi(argv[2]) : 2048);
    }
  } catch (const frugal::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return static_cast<int>(error.kind());
  }
}
