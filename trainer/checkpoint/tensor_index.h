// The pieces of every tensor of a checkpoint.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/checkpoint/format.h"

namespace frugal {

struct StoredPiece {
  Box box;
  std::int64_t bytes = 0;
  int part = 0, file = 0;                 // data-<part>-<file>
  const stored::Piece* stored = nullptr;  // owned by who filled the index
};

struct StoredTensor {
  DType dtype = DType::kF32;
  Shape global;
  std::vector<StoredPiece> pieces;
};

class TensorIndex {
 public:
  // Checks the piece and adds it; returns its bytes. Throws Error(kData) naming `where`.
  std::int64_t add(const stored::Piece& piece, int part, int file, const std::string& where);
  // Throws Error(kData) where the pieces of a tensor do not cover it exactly once.
  void check_cover() const;

  // Null where there is none.
  const StoredTensor* find(std::string_view name) const;
  const std::map<std::string, StoredTensor, std::less<>>& tensors() const { return tensors_; }

 private:
  std::map<std::string, StoredTensor, std::less<>> tensors_;
  std::size_t pieces_ = 0;
};

}  // namespace frugal
