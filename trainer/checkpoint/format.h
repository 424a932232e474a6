// The bytes of a checkpoint folder besides its Protocol Buffers: names, limits, COMMIT, file
// headers. The layout is in README.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kernels/core/dtype.h"
#include "trainer/checkpoint/box.h"
#include "trainer/checkpoint/checkpoint.pb.h"
#include "trainer/checkpoint/file_ops.h"

namespace frugal {

inline constexpr std::uint32_t kFormatVersion = 1;
inline constexpr std::int64_t kChunkBytes = 1 << 20;
inline constexpr std::int64_t kMaxHeaderBytes = 16 << 20;
inline constexpr std::int64_t kMaxMessageBytes = 16 << 20;  // of a part or a manifest
inline constexpr int kMaxParts = 100000;                    // five digits
inline constexpr int kMaxFilesPerPart = 1000;               // three digits
inline constexpr int kMaxPiecesPerFile = 16384;             // keeps headers below their limit
inline constexpr std::size_t kMaxPieces = std::size_t{1} << 22;
inline constexpr std::size_t kMaxNameBytes = 512;

inline constexpr std::string_view kManifestName = "MANIFEST.pb";
inline constexpr std::string_view kCommitName = "COMMIT";
std::string part_name(int rank);                 // part-00003.pb
std::string data_file_name(int rank, int file);  // data-00003-001.safetensors

std::uint64_t xxh3_64(std::span<const std::byte> bytes);  // XXH3, 64 bits
std::span<const std::byte> bytes_of(std::string_view text);

// Printable ASCII without space, quote, backslash and at-sign; 1 to 512 bytes.
bool valid_tensor_name(std::string_view name);

stored::DType stored_dtype(DType dtype);
std::optional<DType> dtype_of_stored(int dtype);

struct CommitMarker {
  std::int64_t step = 0;
  std::uint64_t attempt = 0;
  std::int64_t manifest_bytes = 0;
  std::uint64_t manifest_xxh3 = 0;
};
inline constexpr std::size_t kCommitBytes = 128;
using CommitBytes = std::array<std::byte, kCommitBytes>;
CommitBytes encode_commit(const CommitMarker& marker);
// Reads directory/COMMIT. Throws Error(kData).
CommitMarker read_commit(const std::string& directory);

// The content of a file of at most limit bytes. Throws Error(kData) before anything is allocated
// where it is longer.
std::string read_small_file(const std::string& path, std::int64_t limit,
                            Links links = Links::kRefused);

// One piece as numbers, checked: name, dtype, sizes, a box with elements inside the tensor. Throws
// Error(kData) naming `where`.
struct PieceBox {
  DType dtype;
  Shape global;
  Box box;
  std::int64_t bytes = 0;
};
PieceBox check_piece(const stored::Piece& piece, const std::string& where);

// A safetensors header: length, JSON, spaces up to a multiple of eight bytes.
std::string framed_header(std::string json);
// That of a file with these pieces.
std::string safetensors_header(const stored::DataFile& file);

// False where the bytes are not one whole message.
bool parse_message(google::protobuf::Message& message, std::string_view bytes);

}  // namespace frugal
