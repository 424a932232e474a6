#include "tests/support/emulated_cuda.h"

namespace frugal::test {

const OpTable& emulated_cuda_table() {
  static const OpTable table = {
#define OP(name) .name = &cu::name,
#include "kernels/ops/op_list.inc"
#undef OP
  };
  return table;
}

}  // namespace frugal::test
