// For the emulation, which has no libraries.
#include "kernels/cuda/cublaslt.h"

namespace frugal::cu {

const char* cublaslt_declines(Stream&, const MatmulArgs&) {
  return "this is no GPU";
}

void cublaslt_matmul(Stream&, const MatmulArgs&) {}

}  // namespace frugal::cu
