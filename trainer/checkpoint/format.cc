#include "trainer/checkpoint/format.h"

#include <google/protobuf/io/coded_stream.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "fmt/format.h"
#include "kernels/core/check.h"
#include "trainer/checkpoint/file_ops.h"

namespace frugal {
namespace {

static_assert(std::endian::native == std::endian::little, "files are little-endian, as in memory");

constexpr std::string_view kMagic = "FRGLCKPT";

// COMMIT as stored: no padding between fields, the rest is zero.
struct CommitLayout {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t reserved;
  std::int64_t step;
  std::uint64_t attempt;
  std::int64_t manifest_bytes;
  std::uint64_t manifest_xxh3;
  std::array<std::byte, 72> zero;
  std::uint64_t xxh3;  // of all bytes before
};
static_assert(sizeof(CommitLayout) == kCommitBytes);

struct DTypeRow {
  DType dtype;
  stored::DType stored;
};
constexpr std::array kDTypes = {
    DTypeRow{DType::kF32, stored::F32},        DTypeRow{DType::kBF16, stored::BF16},
    DTypeRow{DType::kF16, stored::F16},        DTypeRow{DType::kF8E4M3, stored::F8_E4M3},
    DTypeRow{DType::kF8E5M2, stored::F8_E5M2}, DTypeRow{DType::kI32, stored::I32},
    DTypeRow{DType::kU8, stored::U8},
};

std::uint64_t commit_checksum(const CommitBytes& bytes) {
  return xxh3_64(std::span(bytes).first(offsetof(CommitLayout, xxh3)));
}

std::string join(const google::protobuf::RepeatedField<std::int64_t>& values) {
  return fmt::format("{}", fmt::join(values, ","));
}

// Tensors of one file need different names: a piece that is not the whole tensor says where it
// begins.
std::string name_in_file(const stored::Piece& piece) {
  const bool whole = std::equal(piece.global().begin(), piece.global().end(),
                                piece.extent().begin(), piece.extent().end());
  return whole ? piece.name() : piece.name() + "@" + join(piece.offset());
}

}  // namespace

std::string part_name(int rank) {
  return fmt::format("part-{:05}.pb", rank);
}

std::string data_file_name(int rank, int file) {
  return fmt::format("data-{:05}-{:03}.safetensors", rank, file);
}

std::uint64_t xxh3_64(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

bool valid_tensor_name(std::string_view name) {
  const auto allowed = [](char c) {
    return c > ' ' && c < '\x7f' && c != '"' && c != '\\' && c != '@';
  };
  return !name.empty() && name.size() <= kMaxNameBytes &&
         std::all_of(name.begin(), name.end(), allowed);
}

stored::DType stored_dtype(DType dtype) {
  for (const DTypeRow& row : kDTypes) {
    if (row.dtype == dtype) return row.stored;
  }
  FRUGAL_CHECK(false, "dtype ", name_of(dtype), " has no name in safetensors");
}

std::optional<DType> dtype_of_stored(int dtype) {
  for (const DTypeRow& row : kDTypes) {
    if (row.stored == dtype) return row.dtype;
  }
  return std::nullopt;
}

CommitBytes encode_commit(const CommitMarker& marker) {
  CommitLayout layout{};
  std::copy(kMagic.begin(), kMagic.end(), layout.magic.begin());
  layout.version = kFormatVersion;
  layout.step = marker.step;
  layout.attempt = marker.attempt;
  layout.manifest_bytes = marker.manifest_bytes;
  layout.manifest_xxh3 = marker.manifest_xxh3;
  layout.xxh3 = commit_checksum(std::bit_cast<CommitBytes>(layout));
  return std::bit_cast<CommitBytes>(layout);
}

CommitMarker read_commit(const std::string& directory) {
  const std::string path = directory + "/" + std::string(kCommitName);
  std::error_code unknown;
  if (!std::filesystem::exists(path, unknown) && !unknown) {
    fail(ErrorKind::kData, directory,
         ": not a whole checkpoint: it has no COMMIT (checkpoints are the step-... folders)");
  }
  const StoredFile file(path);
  if (file.size() != static_cast<std::int64_t>(kCommitBytes)) {
    fail(ErrorKind::kData, path, ": has ", file.size(), " bytes instead of ", kCommitBytes);
  }
  CommitBytes bytes;
  file.read(0, bytes);
  const auto layout = std::bit_cast<CommitLayout>(bytes);
  if (!std::equal(kMagic.begin(), kMagic.end(), layout.magic.begin()) ||
      layout.xxh3 != commit_checksum(bytes)) {
    fail(ErrorKind::kData, path, ": damaged (wrong checksum)");
  }
  if (layout.version != kFormatVersion) {
    fail(ErrorKind::kPreflight, path, ": format version ", layout.version, ", this program reads ",
         kFormatVersion, "; use the version of Frugal that wrote it");
  }
  return {layout.step, layout.attempt, layout.manifest_bytes, layout.manifest_xxh3};
}

std::string read_small_file(const std::string& path, std::int64_t limit, Links links) {
  const StoredFile file(path, links);
  if (file.size() > limit) {
    fail(ErrorKind::kData, path, ": has ", file.size(), " bytes, more than ", limit);
  }
  std::string content(static_cast<std::size_t>(file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(content)));
  return content;
}

PieceBox check_piece(const stored::Piece& piece, const std::string& where) {
  if (!valid_tensor_name(piece.name())) {
    fail(ErrorKind::kData, where, ": a tensor has an invalid name");
  }
  const auto refuse = [&](std::string_view what) {
    fail(ErrorKind::kData, where, ": tensor ", piece.name(), ": ", what);
  };
  const auto dtype = dtype_of_stored(piece.dtype());
  if (!dtype) refuse("unknown dtype");
  const int rank = piece.global_size();
  if (rank > 4 || piece.offset_size() != rank || piece.extent_size() != rank) {
    refuse("wrong number of dimensions");
  }
  PieceBox checked{*dtype, {}, {}};
  checked.global.rank = checked.box.extent.rank = rank;
  std::copy(piece.global().begin(), piece.global().end(), checked.global.dim.begin());
  std::copy(piece.offset().begin(), piece.offset().end(), checked.box.offset.begin());
  std::copy(piece.extent().begin(), piece.extent().end(), checked.box.extent.dim.begin());
  const auto elements = checked_numel(checked.box.extent);
  if (elements.value_or(0) == 0 || !checked_numel(checked.global)) refuse("impossible sizes");
  if (!contains(checked.global, checked.box)) refuse("a piece lies outside the tensor");
  checked.bytes = *elements * static_cast<std::int64_t>(size_of(*dtype));
  return checked;
}

std::string framed_header(std::string json) {
  json.append((8 - json.size() % 8) % 8, ' ');
  const auto length = std::bit_cast<std::array<char, 8>>(std::uint64_t{json.size()});
  return std::string(length.begin(), length.end()) + json;
}

std::string safetensors_header(const stored::DataFile& file) {
  std::string json =
      fmt::format(R"({{"__metadata__":{{"frugal_checkpoint":"{}"}})", kFormatVersion);
  for (const stored::Piece& piece : file.pieces()) {
    const std::int64_t bytes = check_piece(piece, "header").bytes;
    json += fmt::format(R"(,"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                        name_in_file(piece), stored::DType_Name(piece.dtype()),
                        join(piece.extent()), piece.begin(), piece.begin() + bytes);
  }
  return framed_header(json + '}');
}

bool parse_message(google::protobuf::Message& message, std::string_view bytes) {
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const std::uint8_t*>(bytes.data()),
                                            static_cast<int>(bytes.size()));
  in.SetRecursionLimit(16);
  return message.ParseFromCodedStream(&in) && in.ConsumedEntireMessage();
}

}  // namespace frugal
