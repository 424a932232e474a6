// Metadata of a GGUF file: typed values under keys.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace frugal {

enum class GgufType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

// A number, a text, a list of them. Integers of every width are int64 (of a u64 the same bits),
// floats double. An array of arrays has a type and no value.
struct GgufValue {
  using Integers = std::vector<std::int64_t>;
  using Floats = std::vector<double>;
  using Texts = std::vector<std::string>;

  GgufType type = GgufType::kU8;  // of an array: of its elements
  std::variant<std::monostate, std::int64_t, double, bool, std::string, Integers, Floats, Texts>
      value;

  static GgufValue u32(std::int64_t number) { return {GgufType::kU32, number}; }
  static GgufValue f32(double number) { return {GgufType::kF32, number}; }
  static GgufValue boolean(bool truth) { return {GgufType::kBool, truth}; }
  static GgufValue text(std::string text) { return {GgufType::kString, std::move(text)}; }
  static GgufValue texts(Texts texts) { return {GgufType::kString, std::move(texts)}; }
  static GgufValue i32s(Integers numbers) { return {GgufType::kI32, std::move(numbers)}; }
};

}  // namespace frugal
