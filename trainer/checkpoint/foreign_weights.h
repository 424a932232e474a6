// Weights that others saved, under our names: a Hugging Face folder or a GGUF file.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "trainer/checkpoint/checkpoint.h"

namespace frugal {

// What a GGUF file says of its tokenizer, as it says it. Texts are empty, lists too, where it says
// nothing.
struct GgufTokenizer {
  std::string model;                // "gpt2": byte-level BPE
  std::string pre;                  // which words it splits into: "llama-bpe", "qwen2", ...
  std::vector<std::string> tokens;  // by id; byte-level: bytes spelled as GPT-2 does
  std::vector<std::string> merges;  // "left right", first ones first
  std::vector<int> types;           // by id: 1 normal, 3 control, 4 user-defined, 5 unused, ...
  std::optional<int> bos, eos, unknown, padding;
  bool add_bos = false;
  std::string chat_template;
};

// Opened, and all but the data checked. Names are ours for every family (Hugging Face's in the
// Llama style), matrices [out, in], heads' rows in halves. Thread-safe to read; nothing of the data
// is held. A call takes at most 2 MiB for itself, whatever the box and the file.
class ForeignWeights {
 public:
  // A folder with config.json and safetensors, or a file *.gguf. Throws Error(kData) saying what is
  // wrong with it, also where its family is none of gpt2, llama, qwen2 and qwen3, Error(kPreflight)
  // where this process may not read it.
  static std::unique_ptr<ForeignWeights> open(const std::string& path);
  ~ForeignWeights();

  const std::string& path() const;
  // The text of config.json; for GGUF one with Hugging Face's keys made from the metadata. It may
  // say things of which this program knows nothing: whoever reads it decides.
  const std::string& config_json() const;
  // Null unless the file is a GGUF with a tokenizer.
  const GgufTokenizer* tokenizer() const;

  // All weights that have a name here, sorted by it; of a GPT-2's fused attention, three.
  struct Entry {
    std::string name;
    Shape shape;
    std::string type;  // the file's word: "BF16", "Q4_1"
  };
  std::vector<Entry> tensors() const;
  // The type that most elements have: "BF16".
  const std::string& type() const;

  // A digest of what tells one set of weights from another: of each tensor name, shape, type, and
  // its first and last 4 KiB. 16 hexadecimal digits.
  std::string fingerprint() const;

  // Compares with what a model has. Throws Error(kData) with every difference at once (the first
  // ten and a count): tensors that are missing, in excess, of another shape or of a dtype that
  // cannot be read, each with the file's name of it, both shapes in the file's layout. Accepted in
  // excess are buffers that are no weights, and the lm_head.weight of a model that has none (tied)
  // where it begins and ends as the embedding does.
  struct Expected {
    std::string name;
    Shape shape;
  };
  void check(std::span<const Expected> model) const;

  // Fills slice.local, f32, bf16 or f16, on the host, with the box of the tensor. Widening is
  // exact, narrowing rounds to nearest, ties to even. Throws Error(kData) where the tensor is
  // absent or not as check() would have it, or the file ends.
  void read(const TensorSlice& slice) const;

 private:
  struct Impl;
  explicit ForeignWeights(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace frugal
