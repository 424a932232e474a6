#include <algorithm>
#include <cmath>
#include <utility>

#include "fmt/format.h"
#include "kernels/core/check.h"
#include "trainer/data/build_output.h"
#include "trainer/data/chat_shards.h"
#include "trainer/data/files.h"
#include "trainer/data/shard_writer.h"
#include "trainer/data/text_pieces.h"

namespace frugal {
namespace {

// Fills sequences of one folder with samples.
class SequencePacker {
 public:
  SequencePacker(ShardWriter& writer, int length) : writer_(writer), length_(length) {}

  void add(ChatTokens sample) {
    const std::size_t size = sample.ids.size();
    Open* best = nullptr;
    for (Open& open : open_) {
      if (open.size + size <= length_ && (best == nullptr || open.size > best->size)) best = &open;
    }
    if (best == nullptr) {
      constexpr std::size_t kMaxOpen = 64;
      if (open_.size() == kMaxOpen) {
        const auto fullest = std::ranges::max_element(open_, {}, &Open::size);
        write(*fullest);
        open_.erase(fullest);
      }
      best = &open_.emplace_back();
    }
    best->size += size;
    best->samples.push_back(std::move(sample));
  }

  // One token more, so that the last sequence's last input has a target.
  void finish() {
    for (const Open& open : open_) write(open);
    writer_.pad(1);
    writer_.finish();
  }
  std::int64_t sequences() const { return sequences_; }

 private:
  struct Open {
    std::vector<ChatTokens> samples;
    std::size_t size = 0;
  };
  void write(const Open& open) {
    for (const ChatTokens& sample : open.samples) writer_.add_sample(sample.ids, sample.answer);
    writer_.pad(static_cast<std::int64_t>(length_ - open.size));
    ++sequences_;
  }

  ShardWriter& writer_;
  std::size_t length_;
  std::vector<Open> open_;
  std::int64_t sequences_ = 0;
};

// All samples of all files, in order.
class Samples {
 public:
  explicit Samples(std::span<const std::string> files) {
    for (const std::string& path : files) mapped_.emplace_back(path);
    for (const MappedFile& file : mapped_) {
      SampleLines lines(file.text(), file.path());
      for (std::string_view line; lines.next(line);) ++count_;
    }
    if (count_ == 0) fail(ErrorKind::kData, "data build: the files hold no samples");
  }

  std::int64_t count() const { return count_; }

  // Calls use(tokens) for each, with the file and line in front of what it or the reading throws.
  template <class Use>
  void for_each(const ChatFormat& format, SampleKind kind, const Use& use) const {
    for (const MappedFile& file : mapped_) {
      SampleLines lines(file.text(), file.path());
      for (std::string_view line; lines.next(line);) {
        ChatTokens tokens;
        try {
          tokens = format.render(read_sample(line, kind));
        } catch (const Error& error) {
          fail(error.kind(), lines.place(), ": ", error.what());
        }
        use(std::move(tokens));
      }
    }
  }

 private:
  std::vector<MappedFile> mapped_;
  std::int64_t count_ = 0;
};

// How many of the last samples are for validation: at least one, but not all.
std::int64_t validation_count(std::int64_t samples, double fraction) {
  if (fraction == 0.0 || samples < 2) return 0;
  const double share = std::round(fraction * static_cast<double>(samples));
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(share), 1, samples - 1);
}

class ChatBuild {
 public:
  ChatBuild(const Samples& samples, const Tokenizer& tokenizer, const ChatBuildOptions& options)
      : samples_(samples),
        tokenizer_(tokenizer),
        format_(ChatFormat::of(tokenizer, options.chat_format)),
        options_(options) {
    report_.chat_format = format_.name();
  }

  void run(const std::filesystem::path& dir) {
    const std::int64_t validation =
        validation_count(samples_.count(), options_.validation_fraction);
    const std::int64_t train = samples_.count() - validation;
    std::optional<Part> part(std::in_place, *this, dir / "train");
    std::int64_t number = 0;
    EverySecond second;
    samples_.for_each(format_, options_.kind, [&](ChatTokens sample) {
      if (number++ == train) {
        finish(*part, "training");
        part.reset();
        part.emplace(*this, dir / "validation");
      }
      if (std::cmp_greater(sample.ids.size(), options_.sequence_length)) {
        ++report_.too_long;
        return;
      }
      ++part->samples;
      report_.tokens += static_cast<std::int64_t>(sample.ids.size());
      report_.learned += std::ranges::count(sample.answer, true);
      part->packer.add(std::move(sample));
      if (options_.progress && second.due()) {
        options_.progress(fmt::format("{} of {} samples", number, samples_.count()));
      }
    });
    finish(*part, validation > 0 ? "validation" : "training");
  }

  const ChatBuildReport& report() const { return report_; }

 private:
  struct Part {
    Part(const ChatBuild& build, const std::filesystem::path& dir)
        : writer(dir.string(), build.tokenizer_, build.options_.shard_tokens,
                 static_cast<std::uint32_t>(build.options_.sequence_length)),
          packer(writer, build.options_.sequence_length) {}
    ShardWriter writer;
    SequencePacker packer;
    std::int64_t samples = 0;
  };

  void finish(Part& part, const char* name) {
    if (part.samples == 0) {
      fail(ErrorKind::kData, "data build: no sample for ", name, " fits into a sequence of ",
           options_.sequence_length, " tokens (", report_.too_long,
           " are longer): choose a larger --sequence-length");
    }
    part.packer.finish();
    report_.samples += part.samples;
    report_.sequences += part.packer.sequences();
  }

  const Samples& samples_;
  const Tokenizer& tokenizer_;
  ChatFormat format_;
  const ChatBuildOptions& options_;
  ChatBuildReport report_;
};

}  // namespace

ChatBuildReport build_chat_shards(std::span<const std::string> files, const Tokenizer& tokenizer,
                                  const ChatBuildOptions& options) {
  if (!(options.validation_fraction >= 0.0 && options.validation_fraction < 1.0)) {
    fail(ErrorKind::kUsage, "data build: --validation-fraction is ", options.validation_fraction,
         ", expected at least 0 and below 1");
  }
  if (options.sequence_length < 2) {
    fail(ErrorKind::kUsage, "data build: --sequence-length is ", options.sequence_length,
         ", expected at least 2");
  }
  check_no_output(options.output_dir);
  const Samples samples(files);
  ChatBuild build(samples, tokenizer, options);
  build_output(options.output_dir, [&](const std::filesystem::path& dir) { build.run(dir); });
  return build.report();
}

}  // namespace frugal
