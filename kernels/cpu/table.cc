#include "kernels/ops/op_table.h"

namespace frugal::cpu {

const OpTable table = {
#define OP(name) .name = &cpu::name,
#include "kernels/ops/op_list.inc"
#undef OP
};

}  // namespace frugal::cpu
