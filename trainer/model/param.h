// What a parameter is, before and after it has memory.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "kernels/core/shape.h"
#include "kernels/core/tensor.h"

namespace frugal {

using ParamId = int;

struct ParamInit {
  enum class Kind : std::uint8_t { kZero, kOne, kNormal } kind = Kind::kZero;
  float stddev = 0.0F;
};

// Tied embeddings: the table is the owner; the head declares a copy under the same name. Their
// gradients are summed and the copy is never saved or counted.
enum class ParamTie : std::uint8_t { kNone, kOwner, kCopy };

// A layer's declaration. Coordinates are those of the global, unpadded tensor, so they mean the
// same on every layout.
struct ParamSpec {
  std::string name;  // Hugging Face's name in the Llama style, for both families
  Shape global;      // one or two dimensions
  Shape local;       // what this rank stores, padding included
  std::array<std::int64_t, 4> offset{};  // where local begins in global
  Shape valid;                           // the part of local that exists in global (its first rows)
  bool sharded = false;  // over the tensor axis; otherwise every tensor rank holds all of it
  bool decay = false;    // weight decay applies
  bool adapter = false;  // of LoRA: what is trained where the base is frozen
  ParamTie tie = ParamTie::kNone;
  ParamInit init;
};

}  // namespace frugal
