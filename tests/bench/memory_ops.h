// The memory-bound ops on tensors far larger than any cache, on any device.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/core/arena.h"
#include "kernels/core/stream.h"
#include "kernels/core/tensor.h"

namespace frugal::bench {

// Tensors of a device that benchmarks share, made when they are first asked for.
class Tensors {
 public:
  explicit Tensors(Device device) : device_(device) {}
  // Number `index` of its dtype; shape has at most so many elements as [16384, 4096]. Values of
  // ordinary size.
  Tensor operator()(int index, DType dtype, Shape shape);
  Tensor operator()(int index, DType dtype);
  // [count] random integers from 0 to limit - 1.
  Tensor ids(std::int64_t count, std::int64_t limit);

 private:
  Device device_;
  std::map<std::pair<int, DType>, std::unique_ptr<Arena>> arenas_;
  std::map<std::pair<int, DType>, Tensor> tensors_;
  std::map<std::pair<std::int64_t, std::int64_t>, std::unique_ptr<Arena>> id_arenas_;
  std::map<std::pair<std::int64_t, std::int64_t>, Tensor> ids_;
};

struct MemoryOp {
  std::string name;  // "rms_norm_forward/bf16"
  double bytes;      // that it must move: every input read once, every output written once
  std::function<void(Stream& stream, Tensors& tensors)> run;
};
std::vector<MemoryOp> memory_ops();

}  // namespace frugal::bench
