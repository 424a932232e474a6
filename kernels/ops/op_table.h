// Dispatch. The public function in namespace ops is the only place where an op's signature stands;
// the struct of function pointers and the declarations of every backend follow from it. A backend
// op that is missing or mistyped is a link error that names it.
#pragma once

#include <string>

#include "kernels/core/stream.h"
#include "kernels/ops/activation.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/cache.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/embedding.h"
#include "kernels/ops/loss.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/norm.h"
#include "kernels/ops/optimizer.h"
#include "kernels/ops/rope.h"

namespace frugal {

struct OpTable {
#define OP(name) decltype(&ops::name) name;  // NOLINT(bugprone-macro-parentheses)
#include "kernels/ops/op_list.inc"
#undef OP
};

#define OP(name) decltype(ops::name) name;  // NOLINT(bugprone-macro-parentheses)
// Plain loops: the definition, called by tests only.
namespace ref {
#include "kernels/ops/op_list.inc"
}
namespace cpu {
#include "kernels/ops/op_list.inc"
extern const OpTable table;
}  // namespace cpu
namespace cu {
#include "kernels/ops/op_list.inc"
// Null where no GPU can be used. Also registers the GPUs' memory and streams. Call it before ranks
// start.
const OpTable* table();
// Why the table is null, to be put after "but "; empty when it is not.
std::string missing();
// GPUs of this machine that the program may use.
int device_count();
}  // namespace cu
#undef OP

// The table of the stream's device. The CPU's serves planning streams too: its ops only enqueue,
// and tell what memory they keep. For a planning stream of another device, which may not be there,
// a table of ops that do nothing. Throws Error(kPreflight) when the device was not built in.
const OpTable& op_table(const Stream& stream);

}  // namespace frugal
