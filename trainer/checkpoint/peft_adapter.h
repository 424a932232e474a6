// LoRA adapters that PEFT saved: adapter_config.json and adapter_model.safetensors.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "trainer/checkpoint/foreign_weights.h"

namespace frugal {

// Opened, and all but the data checked. Thread-safe to read; nothing of the data is held.
class PeftAdapter {
 public:
  // Throws Error(kData) saying what is wrong with the folder, Error(kPreflight) where this process
  // may not read it.
  static std::unique_ptr<PeftAdapter> open(const std::string& folder);
  ~PeftAdapter();

  const std::string& folder() const;
  // The text of adapter_config.json. Whoever reads it decides what it means.
  const std::string& config_json() const;

  // Compares with the adapters of a model, by our names. Throws Error(kData): tensors that are
  // missing, in excess, of another shape or of a dtype that cannot be read.
  void check(std::span<const ForeignWeights::Expected> model) const;

  // Fills slice.local, f32, bf16 or f16, on the host, with the box of the tensor. REQUIRES: check()
  // has passed.
  void read(const TensorSlice& slice) const;

 private:
  struct Impl;
  explicit PeftAdapter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace frugal
