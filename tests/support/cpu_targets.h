// The instruction sets that the CPU backend's vector loops were compiled for.
#pragma once

#include <gtest/gtest.h>
#include <hwy/targets.h>

namespace frugal::test {

// Calls fn() once with each of them that this machine has, the best one last, under a trace that
// names it.
template <class Fn>
void for_each_cpu_target(const Fn& fn) {
  for (const std::int64_t target : {HWY_EMU128, HWY_AVX2, HWY_AVX3}) {
    if (target != HWY_EMU128 && (hwy::SupportedTargets() & target) == 0) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::GetChosenTarget().Update(target);
    fn();
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace frugal::test
