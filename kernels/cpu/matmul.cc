#include "kernels/ops/op_table.h"

namespace frugal::cpu {

void matmul(Stream&, const MatmulArgs&) {
  FRUGAL_CHECK(false, "cpu::matmul is missing");
}

}  // namespace frugal::cpu
