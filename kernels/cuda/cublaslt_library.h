// cuBLASLt's functions, opened by name, in terms of products.
#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/cuda_stream.h"
#include "kernels/ops/product.h"

namespace frugal::cu {

// Where the operands of a product lie.
struct Operands {
  const void* a;
  const void* b;
  const void* bias;
  const void* add;         // or null
  const void* gelu_input;  // read or written, or null
  void* out;
};

// A handle of the library. Thread-safe.
class CublasLt {
 public:
  // For the calling thread's GPU; null where the machine lacks the library.
  static std::unique_ptr<CublasLt> open();
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  std::size_t version() const;
  // What the library proposes, the best first as it thinks; empty where it has nothing.
  std::vector<cublasLtMatmulAlgo_t> propose(const Product& p, int count) const;
  cublasStatus_t enqueue(CudaStream& stream, const Product& p, const Operands& at,
                         const cublasLtMatmulAlgo_t& algorithm) const;
  // Throws Error(kInternal) unless it is a success.
  void check(cublasStatus_t status, const std::string& what) const;

  struct Library;

 private:
  explicit CublasLt(const Library& lib);

  const Library& lib_;
  cublasLtHandle_t handle_ = nullptr;
};

}  // namespace frugal::cu
