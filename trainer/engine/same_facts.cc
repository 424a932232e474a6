#include "trainer/engine/same_facts.h"

#include "trainer/checkpoint/agreement.h"

namespace frugal {

void require_same_facts(ProcessGroup& world, const std::map<std::string, std::string>& facts,
                        const std::string& advice) {
  for (const auto& fact : facts) {
    const std::string first = broadcast_text(world, fact.second);
    const auto failure = run_agreed(world, [&] {
      if (fact.second == first) return;
      fail(ErrorKind::kUsage, "rank ", world.rank(), " has another ", fact.first,
           " than rank 0: ", advice);
    });
    if (failure) throw Error(failure->kind, failure->message);
  }
}

}  // namespace frugal
