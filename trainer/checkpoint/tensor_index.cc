#include "trainer/checkpoint/tensor_index.h"

#include "kernels/core/check.h"

namespace frugal {

std::int64_t TensorIndex::add(const stored::Piece& piece, int part, int file,
                              const std::string& where) {
  const PieceBox checked = check_piece(piece, where);
  if (++pieces_ > kMaxPieces) fail(ErrorKind::kData, where, ": more than ", kMaxPieces, " pieces");
  StoredTensor& tensor = tensors_[piece.name()];
  if (tensor.pieces.empty()) {
    tensor.dtype = checked.dtype;
    tensor.global = checked.global;
  } else if (tensor.dtype != checked.dtype || tensor.global != checked.global) {
    fail(ErrorKind::kData, where, ": tensor ", piece.name(), " is ", name_of(checked.dtype), " ",
         to_string(checked.global), " here and ", name_of(tensor.dtype), " ",
         to_string(tensor.global), " elsewhere");
  }
  tensor.pieces.push_back({checked.box, checked.bytes, part, file, &piece});
  return checked.bytes;
}

void TensorIndex::check_cover() const {
  for (const auto& [name, tensor] : tensors_) {
    std::vector<Box> boxes;
    for (const StoredPiece& piece : tensor.pieces) boxes.push_back(piece.box);
    if (!covers_once(tensor.global, boxes)) {
      fail(ErrorKind::kData, "tensor ", name, " ", to_string(tensor.global), ": its ", boxes.size(),
           " pieces do not cover every element exactly once");
    }
  }
}

const StoredTensor* TensorIndex::find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

}  // namespace frugal
