#include "kernels/ops/op_table.h"

namespace frugal::ops {

void matmul(Stream& stream, const MatmulArgs& args) {
  op_table(stream).matmul(stream, args);
}

}  // namespace frugal::ops
