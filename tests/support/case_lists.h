// The families of cases that have a file of their own; op_cases() puts all together.
#pragma once

#include <vector>

#include "tests/support/op_cases.h"

namespace frugal::test {

inline constexpr DType kDtypes[] = {DType::kF32, DType::kBF16, DType::kF16};

// One tensor per argument: a braced list cannot move.
template <class... Tensors>
std::vector<Owned> outputs(Tensors&&... tensors) {
  std::vector<Owned> out;
  (out.push_back(std::forward<Tensors>(tensors)), ...);
  return out;
}

void add_matmul_cases(std::vector<OpCase>& cases);
void add_attention_cases(std::vector<OpCase>& cases, DType dtype);
void add_embedding_cases(std::vector<OpCase>& cases, DType dtype);

}  // namespace frugal::test
