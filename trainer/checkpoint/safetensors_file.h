// Safetensors that others wrote: one file, or the folder of a model with an index. Strict: what a
// header says is compared with the file before anything is allocated for it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/checkpoint/foreign_tensor.h"

namespace frugal {

inline constexpr std::int64_t kMaxForeignHeaderBytes = 100'000'000;
inline constexpr std::size_t kMaxSafetensorsRank = 8;
inline constexpr std::int64_t kMaxIndexBytes = 64 << 20;

// The tensors of a header, by position, counted from the end of the header. `data_bytes` is the
// size of what follows it. Throws Error(kData), naming `where` and mostly a tensor, where it is not
// JSON of the format, a name occurs twice or is none, the dtype is none of safetensors', sizes do
// not belong to the shape, or tensors overlap, leave a gap or do not end where the file does.
std::vector<ForeignTensor> parse_safetensors_header(std::string_view json, std::int64_t data_bytes,
                                                    const std::string& where);

// The tensors of one file; positions are the file's. Throws as above.
std::vector<ForeignTensor> read_safetensors(const StoredFile& file, const std::string& path);

// folder/model.safetensors, or what folder/model.safetensors.index.json lists: plain names of files
// in the folder, which hold each tensor where the index says, and no others. Throws Error(kData).
ForeignFiles open_safetensors_folder(const std::string& folder);

// The files that an index names, each with the names of its tensors, both sorted. Throws as above.
struct ShardNames {
  std::string file;
  std::vector<std::string> tensors;
};
std::vector<ShardNames> parse_safetensors_index(std::string_view json, const std::string& where);

}  // namespace frugal
