#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/core/check.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/file_ops.h"
#include "trainer/checkpoint/tensor_index.h"

namespace frugal {
namespace {

using Buffer = std::vector<std::byte>;

std::int64_t chunks_of(std::int64_t bytes) {
  return (bytes + kChunkBytes - 1) / kChunkBytes;
}

// Parses a file whose size and checksum somebody vouches for.
void read_message(const std::string& path, std::int64_t bytes, std::uint64_t xxh3,
                  google::protobuf::Message& message) {
  if (bytes < 0 || bytes > kMaxMessageBytes) {
    fail(ErrorKind::kData, path, ": would have ", bytes, " bytes, at most ", kMaxMessageBytes,
         " are allowed");
  }
  const std::string content = read_small_file(path, bytes);
  if (static_cast<std::int64_t>(content.size()) != bytes || xxh3_64(bytes_of(content)) != xxh3) {
    fail(ErrorKind::kData, path, ": damaged (wrong checksum)");
  }
  if (!parse_message(message, content)) fail(ErrorKind::kData, path, ": not readable");
}

// Chunks of one piece, each checked before anybody sees it.
class PieceReader {
 public:
  // position: of the piece in the file.
  PieceReader(const std::string& path, const StoredFile& file, std::int64_t position,
              const StoredPiece& piece)
      : path_(path), file_(file), position_(position), piece_(piece) {
    buffer_.resize(static_cast<std::size_t>(std::min(kChunkBytes, piece.bytes)));
  }

  // Valid until the next call.
  std::span<const std::byte> chunk(std::int64_t index) {
    const std::int64_t begin = index * kChunkBytes;
    const std::int64_t size = std::min(kChunkBytes, piece_.bytes - begin);
    const auto bytes = std::span(buffer_).first(static_cast<std::size_t>(size));
    if (index == loaded_) return bytes;
    file_.read(position_ + begin, bytes);
    if (xxh3_64(bytes) != piece_.stored->chunk_xxh3(static_cast<int>(index))) {
      fail(ErrorKind::kData, path_, ": damaged in bytes ", position_ + begin, " to ",
           position_ + begin + size, " (tensor ", piece_.stored->name(), ")");
    }
    loaded_ = index;
    return bytes;
  }

  // Copies bytes [begin, begin + count) of the piece.
  void copy(std::int64_t begin, std::byte* out, std::int64_t count) {
    while (count > 0) {
      const auto bytes =
          chunk(begin / kChunkBytes).subspan(static_cast<std::size_t>(begin % kChunkBytes));
      const std::int64_t size = std::min(count, static_cast<std::int64_t>(bytes.size()));
      std::memcpy(out, bytes.data(), static_cast<std::size_t>(size));
      begin += size;
      out += size;
      count -= size;
    }
  }

 private:
  const std::string& path_;
  const StoredFile& file_;
  const std::int64_t position_;
  const StoredPiece& piece_;
  Buffer buffer_;
  std::int64_t loaded_ = -1;
};

std::map<std::string, std::string> map_of(
    const google::protobuf::RepeatedPtrField<stored::Field>& fields, const std::string& path) {
  std::map<std::string, std::string> values;
  for (const stored::Field& field : fields) {
    if (!values.emplace(field.key(), field.value()).second) {
      fail(ErrorKind::kData, path, ": a field occurs twice");
    }
  }
  return values;
}

}  // namespace

struct CheckpointReader::Impl {
  std::string directory;
  CheckpointInfo info;
  std::vector<stored::Part> parts;
  TensorIndex index;

  std::string path(std::string_view name) const { return directory + "/" + std::string(name); }
  const stored::DataFile& file(int part, int i) const {
    return parts[static_cast<std::size_t>(part)].files(i);
  }

  stored::Manifest read_manifest() {
    const CommitMarker marker = read_commit(directory);
    stored::Manifest manifest;
    const std::string where = path(kManifestName);
    read_message(where, marker.manifest_bytes, marker.manifest_xxh3, manifest);
    if (manifest.step() != marker.step || manifest.attempt() != marker.attempt) {
      fail(ErrorKind::kData, where, ": belongs to another COMMIT");
    }
    info = {manifest.step(),
            manifest.run_id(),
            manifest.layout(),
            manifest.config(),
            map_of(manifest.identity(), where),
            map_of(manifest.state(), where)};
    return manifest;
  }

  void read_parts(const stored::Manifest& manifest) {
    if (manifest.parts_size() < 1 || manifest.parts_size() > kMaxParts) {
      fail(ErrorKind::kData, path(kManifestName), ": lists ", manifest.parts_size(), " parts");
    }
    parts.resize(static_cast<std::size_t>(manifest.parts_size()));
    for (int rank = 0; rank < manifest.parts_size(); ++rank) {
      stored::Part& part = parts[static_cast<std::size_t>(rank)];
      const stored::PartRef& ref = manifest.parts(rank);
      read_message(path(part_name(rank)), ref.bytes(), ref.xxh3(), part);
      if (part.files_size() > kMaxFilesPerPart) {
        fail(ErrorKind::kData, path(part_name(rank)), ": lists ", part.files_size(), " files");
      }
      for (int i = 0; i < part.files_size(); ++i) add_file(rank, i);
    }
    index.check_cover();
  }

  // The pieces must follow each other to the end of a file that has the size they need.
  void add_file(int rank, int i) {
    const stored::DataFile& file = parts[static_cast<std::size_t>(rank)].files(i);
    const std::string where = path(part_name(rank));
    if (file.header_bytes() < 8 || file.header_bytes() > kMaxHeaderBytes) {
      fail(ErrorKind::kData, where, ": a file header of ", file.header_bytes(), " bytes");
    }
    std::int64_t position = 0;
    for (const stored::Piece& piece : file.pieces()) {
      const std::int64_t bytes = index.add(piece, rank, i, where);
      if (piece.begin() != position || piece.chunk_xxh3_size() != chunks_of(bytes) ||
          __builtin_add_overflow(position, bytes, &position)) {
        fail(ErrorKind::kData, where, ": tensor ", piece.name(), ": wrong position or checksums");
      }
    }
    if (file.bytes() < file.header_bytes() || file.bytes() - file.header_bytes() != position) {
      fail(ErrorKind::kData, where, ": pieces do not fill their file");
    }
    const std::string data = path(data_file_name(rank, i));
    if (const std::int64_t size = StoredFile(data).size(); size != file.bytes()) {
      fail(ErrorKind::kData, data, ": has ", size, " bytes instead of ", file.bytes());
    }
  }

  void verify_header(const std::string& where, const StoredFile& stored,
                     const stored::DataFile& file) const {
    Buffer header(static_cast<std::size_t>(file.header_bytes()));
    stored.read(0, header);
    if (xxh3_64(header) != file.header_xxh3()) {
      fail(ErrorKind::kData, where, ": damaged in bytes 0 to ", header.size(), " (header)");
    }
  }

  void verify_file(int part, int i, std::span<const StoredPiece* const> pieces) const {
    const std::string where = path(data_file_name(part, i));
    const StoredFile stored(where);
    verify_header(where, stored, file(part, i));
    for (const StoredPiece* piece : pieces) {
      PieceReader reader(where, stored, file(part, i).header_bytes() + piece->stored->begin(),
                         *piece);
      for (std::int64_t c = 0; c < chunks_of(piece->bytes); ++c) reader.chunk(c);
    }
  }

  // Fills the part of slice that the piece has.
  void read_piece(const StoredPiece& piece, const TensorSlice& slice) const {
    const Box wanted{slice.offset, slice.local.shape};
    if (intersect(piece.box, wanted).extent.numel() == 0) return;
    const std::string where = path(data_file_name(piece.part, piece.file));
    const StoredFile stored(where);
    PieceReader reader(where, stored,
                       file(piece.part, piece.file).header_bytes() + piece.stored->begin(), piece);
    const auto size = static_cast<std::int64_t>(size_of(slice.local.dtype));
    for_each_common_run(piece.box, wanted,
                        [&](std::int64_t from, std::int64_t to, std::int64_t count) {
                          reader.copy(from * size, slice.local.data + to * size, count * size);
                        });
  }
};

CheckpointReader::CheckpointReader(const std::string& directory) : impl_(std::make_unique<Impl>()) {
  impl_->directory = directory;
  impl_->read_parts(impl_->read_manifest());
}

CheckpointReader::~CheckpointReader() = default;
CheckpointReader::CheckpointReader(CheckpointReader&&) noexcept = default;

const CheckpointInfo& CheckpointReader::info() const {
  return impl_->info;
}
const std::string& CheckpointReader::directory() const {
  return impl_->directory;
}
bool CheckpointReader::has(std::string_view name) const {
  return impl_->index.find(name) != nullptr;
}

std::vector<CheckpointReader::Entry> CheckpointReader::tensors() const {
  std::vector<Entry> entries;
  for (const auto& [name, tensor] : impl_->index.tensors()) {
    entries.push_back({name, tensor.dtype, tensor.global});
  }
  return entries;
}

void CheckpointReader::read(const TensorSlice& slice) const {
  const StoredTensor* tensor = impl_->index.find(slice.name);
  if (tensor == nullptr) {
    fail(ErrorKind::kData, directory(), ": holds no tensor ", slice.name,
         "; it belongs to another model or optimizer");
  }
  if (tensor->dtype != slice.local.dtype || tensor->global != slice.global) {
    fail(ErrorKind::kData, directory(), ": tensor ", slice.name, " is ", name_of(tensor->dtype),
         " ", to_string(tensor->global), ", this run has ", name_of(slice.local.dtype), " ",
         to_string(slice.global));
  }
  FRUGAL_CHECK(contains(slice.global, {slice.offset, slice.local.shape}), slice.name, ": box ",
               to_string(slice.local.shape), " lies outside ", to_string(slice.global));
  FRUGAL_CHECK(on_host(slice.local.device), slice.name, ": not on the host");
  for (const StoredPiece& piece : tensor->pieces) impl_->read_piece(piece, slice);
}

void CheckpointReader::verify(int share, int shares) const {
  FRUGAL_CHECK(0 <= share && share < shares);
  std::map<std::pair<int, int>, std::vector<const StoredPiece*>> files;
  for (int part = 0; part < static_cast<int>(impl_->parts.size()); ++part) {
    const int count = impl_->parts[static_cast<std::size_t>(part)].files_size();
    for (int i = 0; i < count; ++i) files[{part, i}];
  }
  for (const auto& [name, tensor] : impl_->index.tensors()) {
    for (const StoredPiece& piece : tensor.pieces)
      files[{piece.part, piece.file}].push_back(&piece);
  }
  int number = 0;
  for (auto& [file, pieces] : files) {
    if (number++ % shares != share) continue;
    std::sort(pieces.begin(), pieces.end(),
              [](const auto* a, const auto* b) { return a->stored->begin() < b->stored->begin(); });
    impl_->verify_file(file.first, file.second, pieces);
  }
}

}  // namespace frugal
