#include <algorithm>
#include <random>
#include <tuple>
#include <utility>

#include "fmt/format.h"
#include "kernels/core/check.h"
#include "kernels/ops/elementwise.h"
#include "trainer/checkpoint/agreement.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/file_ops.h"
#include "trainer/checkpoint/folders.h"
#include "trainer/checkpoint/tensor_index.h"

namespace frugal {
namespace {

// The order in a rank's files: larger elements first, so that every tensor is aligned.
bool stored_before(const TensorSlice& a, const TensorSlice& b) {
  const auto key = [](const TensorSlice& slice) {
    return std::make_tuple(-static_cast<int>(size_of(slice.local.dtype)),
                           std::string_view(slice.name), slice.offset);
  };
  return key(a) < key(b);
}

stored::Piece describe(const TensorSlice& slice) {
  stored::Piece piece;
  piece.set_name(slice.name);
  piece.set_dtype(stored_dtype(slice.local.dtype));
  for (int d = 0; d < slice.global.rank; ++d) {
    piece.add_global(slice.global[d]);
    piece.add_offset(slice.offset[static_cast<std::size_t>(d)]);
    piece.add_extent(slice.local.shape[d]);
  }
  return piece;
}

// Which slice goes where, in their order; checksums are still missing.
stored::Part plan_part(const std::vector<TensorSlice>& slices, std::int64_t data_file_bytes) {
  stored::Part part;
  stored::DataFile* file = nullptr;
  std::int64_t position = 0;
  for (const TensorSlice& slice : slices) {
    const auto bytes = static_cast<std::int64_t>(slice.local.bytes());
    if (file == nullptr || position + bytes > data_file_bytes ||
        file->pieces_size() == kMaxPiecesPerFile) {
      file = part.add_files();
      position = 0;
    }
    stored::Piece* piece = file->add_pieces();
    *piece = describe(slice);
    piece->set_begin(position);
    position += bytes;
    file->set_bytes(position);
  }
  for (stored::DataFile& planned : *part.mutable_files()) {
    planned.set_header_bytes(static_cast<std::int64_t>(safetensors_header(planned).size()));
    planned.set_bytes(planned.header_bytes() + planned.bytes());
  }
  return part;
}

// Throws where the pieces of all ranks do not make whole tensors.
void check_plan(const std::vector<std::string>& parts) {
  std::vector<stored::Part> parsed(parts.size());
  TensorIndex index;
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    FRUGAL_CHECK(parse_message(parsed[rank], parts[rank]));
    for (const stored::DataFile& file : parsed[rank].files()) {
      for (const stored::Piece& piece : file.pieces()) {
        index.add(piece, static_cast<int>(rank), 0, concat("rank ", rank));
      }
    }
  }
  index.check_cover();
}

// Gives a file the bytes of pieces, wherever they lie.
class PieceSource {
 public:
  PieceSource(Stream* stream, const Tensor& staging) : stream_(stream), staging_(staging) {}

  // Valid until the next call.
  std::span<const std::byte> read(const Tensor& piece, std::int64_t begin,
                                  std::int64_t count) const {
    const Tensor bytes{piece.data + begin, {count}, DType::kU8, piece.device};
    Tensor host = bytes;
    if (!on_host(piece.device)) {
      host = staging_.slice(0, count);
      ops::copy(*stream_, host, bytes);
      stream_->synchronize();
    }
    return {host.data, host.bytes()};
  }

 private:
  Stream* stream_;
  Tensor staging_;
};

void write_data_file(NewFile& out, stored::DataFile& file, const TensorSlice* slice,
                     const PieceSource& source) {
  const std::string header = safetensors_header(file);
  file.set_header_xxh3(xxh3_64(bytes_of(header)));
  out.append(bytes_of(header));
  for (stored::Piece& piece : *file.mutable_pieces()) {
    const auto bytes = static_cast<std::int64_t>(slice->local.bytes());
    for (std::int64_t begin = 0; begin < bytes; begin += kChunkBytes) {
      const auto chunk = source.read(slice->local, begin, std::min(kChunkBytes, bytes - begin));
      piece.add_chunk_xxh3(xxh3_64(chunk));
      out.append(chunk);
    }
    ++slice;
  }
  out.finish();
}

stored::PartRef write_message(FileOps& files, const std::string& path,
                              const google::protobuf::MessageLite& message) {
  const std::string bytes = message.SerializeAsString();
  if (static_cast<std::int64_t>(bytes.size()) > kMaxMessageBytes) {
    fail(ErrorKind::kData, path, ": would have ", bytes.size(), " bytes, more than ",
         kMaxMessageBytes, "; use more ranks");
  }
  NewFile out(files, path);
  out.append(bytes_of(bytes));
  out.finish();
  stored::PartRef ref;
  ref.set_bytes(static_cast<std::int64_t>(bytes.size()));
  ref.set_xxh3(xxh3_64(bytes_of(bytes)));
  return ref;
}

// This rank's files, durable when it returns.
stored::PartRef write_part(FileOps& files, const std::string& directory, int rank,
                           stored::Part& part, const std::vector<TensorSlice>& slices,
                           const PieceSource& source) {
  if (part.files_size() > kMaxFilesPerPart) {
    fail(ErrorKind::kData, directory, ": more than ", kMaxFilesPerPart, " data files of one rank",
         "; use more ranks");
  }
  const TensorSlice* slice = slices.data();
  for (int i = 0; i < part.files_size(); ++i) {
    NewFile out(files, directory + "/" + data_file_name(rank, i));
    write_data_file(out, *part.mutable_files(i), slice, source);
    slice += part.files(i).pieces_size();
  }
  stored::PartRef ref = write_message(files, directory + "/" + part_name(rank), part);
  check_system(files.sync_directory(directory), directory, "write");
  return ref;
}

void add_fields(google::protobuf::RepeatedPtrField<stored::Field>& fields,
                const std::map<std::string, std::string>& values) {
  for (const auto& [key, value] : values) {
    stored::Field* field = fields.Add();
    field->set_key(key);
    field->set_value(value);
  }
}

stored::Manifest make_manifest(const CheckpointInfo& info, std::uint64_t attempt,
                               const std::vector<std::string>& part_refs) {
  stored::Manifest manifest;
  manifest.set_step(info.step);
  manifest.set_attempt(attempt);
  manifest.set_run_id(info.run_id);
  manifest.set_layout(info.layout);
  manifest.set_config(info.config);
  add_fields(*manifest.mutable_identity(), info.identity);
  add_fields(*manifest.mutable_state(), info.state);
  for (const std::string& ref : part_refs) {
    FRUGAL_CHECK(parse_message(*manifest.add_parts(), ref));
  }
  return manifest;
}

// What rank 0 does for all.
class Attempt {
 public:
  Attempt(FileOps& files, std::string root, const CheckpointInfo& info)
      : files_(files), root_(std::move(root)), info_(info) {
    std::random_device random;
    id_ = std::uint64_t{random()} << 32 | random();
    directory_ = fmt::format("{}/writing-{}-{:016x}", root_, folder_name(info.step, 1), id_);
  }
  const std::string& directory() const { return directory_; }

  void begin() {
    make_directories(files_, root_);
    remove_leftovers(files_, root_);  // what cannot go does not disturb
    check_system(files_.make_directory(directory_), directory_, "create");
  }

  // All parts are durable: makes them a checkpoint. The rename is the commit point.
  void publish(const std::vector<std::string>& part_refs) {
    const auto ref = write_message(files_, directory_ + "/" + std::string(kManifestName),
                                   make_manifest(info_, id_, part_refs));
    NewFile commit(files_, directory_ + "/" + std::string(kCommitName));
    commit.append(encode_commit({info_.step, id_, ref.bytes(), ref.xxh3()}));
    commit.finish();
    check_system(files_.sync_directory(directory_), directory_, "write");
    const std::string path = root_ + "/" + free_name();
    check_system(files_.rename(directory_, path), path, "create");
    if (const int result = files_.sync_directory(root_); result < 0) {
      files_.rename(path, directory_);
      fail_system(root_, "write", -result);
    }
  }

  void discard() { remove_folder(files_, directory_); }  // else the next attempt does

 private:
  std::string free_name() const {
    int take = 1;
    for (const CheckpointFolder& folder : checkpoint_folders(root_)) {
      if (folder.step == info_.step) take = std::max(take, folder.take + 1);
    }
    return folder_name(info_.step, take);
  }

  FileOps& files_;
  const std::string root_;
  const CheckpointInfo& info_;
  std::uint64_t id_ = 0;
  std::string directory_;
};

}  // namespace

CheckpointWriter::CheckpointWriter(std::string root, CheckpointInfo info,
                                   CheckpointWriterOptions options)
    : root_(std::move(root)), info_(std::move(info)), options_(options) {
  FRUGAL_CHECK(info_.step >= 0, "step ", info_.step);
}

void CheckpointWriter::add(TensorSlice slice) {
  FRUGAL_CHECK(valid_tensor_name(slice.name), "tensor name '", slice.name, "'");
  FRUGAL_CHECK(on_host(slice.local.device) || options_.stream != nullptr, slice.name,
               ": not on the host");
  FRUGAL_CHECK(slice.global.numel() > 0, slice.name, ": no elements");
  FRUGAL_CHECK(contains(slice.global, {slice.offset, slice.local.shape}), slice.name, ": box ",
               to_string(slice.local.shape), " lies outside ", to_string(slice.global));
  if (slice.local.numel() > 0) slices_.push_back(std::move(slice));
}

bool CheckpointWriter::commit(ProcessGroup& world, std::string& error) {
  FRUGAL_CHECK(world.size() <= kMaxParts, world.size(), " ranks");
  FileOps& files = options_.files == nullptr ? disk_files() : *options_.files;
  std::sort(slices_.begin(), slices_.end(), stored_before);
  stored::Part part = plan_part(slices_, options_.data_file_bytes);
  const auto plans = gather_texts(world, part.SerializeAsString());
  auto failure = run_agreed(world, [&] { check_plan(plans); });
  if (failure) throw Error(ErrorKind::kInternal, failure->message);

  Attempt attempt(files, root_, info_);
  const bool leads = world.rank() == 0;
  const std::string directory = broadcast_text(world, attempt.directory());
  const auto next = [&](const std::function<void()>& work) {
    if (!failure) failure = run_agreed(world, work);
  };
  next([&] {
    if (leads) attempt.begin();
  });
  stored::PartRef ref;
  const PieceSource source(options_.stream, options_.staging);
  next([&] { ref = write_part(files, directory, world.rank(), part, slices_, source); });
  const auto part_refs = gather_texts(world, ref.SerializeAsString());
  next([&] {
    if (leads) attempt.publish(part_refs);
  });
  if (!failure) return true;

  if (leads) attempt.discard();
  world.host_barrier();
  if (failure->kind == ErrorKind::kInternal) throw Error(failure->kind, failure->message);
  error = concat("checkpoint of step ", info_.step, " was not written: ", failure->message,
                 " (older checkpoints are untouched)");
  return false;
}

}  // namespace frugal
