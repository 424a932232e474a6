#include "kernels/cuda/emulation/emulation.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <boost/context/fiber.hpp>
#include <boost/context/preallocated.hpp>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/core/check.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace frugal::emulation {
namespace {

namespace context = boost::context;

// A fiber's stack, kept from block to block.
class Stack {
 public:
  Stack()
      : memory_(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
    FRUGAL_CHECK(memory_ != MAP_FAILED, "no memory for the stack of a fiber");
  }
  ~Stack() {
#ifdef __SANITIZE_ADDRESS__
    // What frames have left poisoned would be taken for theirs by whoever gets these pages next.
    __asan_unpoison_memory_region(memory_, kBytes);
#endif
    munmap(memory_, kBytes);
  }
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  void* bottom() const {
    return memory_;
  }
  static constexpr std::size_t size() {
    return kBytes;
  }
  context::stack_context view() const {
    context::stack_context out;
    out.size = kBytes;
    out.sp = static_cast<std::byte*>(memory_) + kBytes;
    return out;
  }

 private:
  static constexpr std::size_t kBytes = std::size_t{256} << 10;
  void* memory_;
};

// Boost's fibers give their stack back here: the Stack keeps it.
struct KeepStack {
  context::stack_context allocate() const { return {}; }
  void deallocate(context::stack_context&) const {}
};

// Tells AddressSanitizer which stack the code runs on.
class StackSwitch {
 public:
  // About to run on another stack; ends: the current fiber never comes back.
  void leave([[maybe_unused]] const void* bottom, [[maybe_unused]] std::size_t size,
             [[maybe_unused]] bool ends = false) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(ends ? nullptr : &fake_stack_, bottom, size);
#endif
  }
  // Back, or here for the first time; remembers whence.
  void arrive([[maybe_unused]] StackSwitch* from = nullptr) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake_stack_, from == nullptr ? nullptr : &from->bottom_,
                                    from == nullptr ? nullptr : &from->size_);
#endif
  }
  const void* bottom() const {
    return bottom_;
  }
  std::size_t size() const {
    return size_;
  }

 private:
  [[maybe_unused]] void* fake_stack_ = nullptr;
  const void* bottom_ = nullptr;
  std::size_t size_ = 0;
};

constexpr std::size_t kOffered = 32, kCopied = 16;  // bytes

struct Copy {
  void* to;
  const void* from;  // null: zeros
};

enum class Wait : std::uint8_t { kNothing, kBarrier, kWarp, kEnded };

struct Fiber {
  Position position;
  Wait wait = Wait::kNothing;
  bool started = false;
  unsigned mask = 0;                          // of the collective it waits in
  std::array<std::byte, kOffered> offered{};  // to the lanes of the mask
  std::vector<std::vector<Copy>> copies{{}};  // groups, oldest first; the last one is open
  StackSwitch stack_switch;
  context::fiber self;
};

// One block of a grid.
class Block {
 public:
  Block(const Grid& grid, dim3 index, const std::function<void()>& body, Order order,
        std::vector<std::unique_ptr<Stack>>& stacks)
      : grid_(grid), body_(body), order_(order), stacks_(stacks), fibers_(grid.threads) {
    // Exactly as large as asked: its ends are AddressSanitizer's business.
    if (grid.shared_bytes > 0) {
      shared_.reset(static_cast<std::byte*>(::operator new(grid.shared_bytes, kSharedAlignment)));
      std::memset(shared_.get(), 0xff, grid.shared_bytes);  // NaN in every float type
    }
    while (stacks_.size() < fibers_.size()) stacks_.push_back(std::make_unique<Stack>());
    for (unsigned t = 0; t < grid.threads; ++t) {
      fibers_[t].position = {{t, 0, 0}, index, {grid.threads, 1, 1}, grid.blocks};
    }
  }

  void run() {
    for (std::size_t t = 0; t < fibers_.size(); ++t) start(t);
    while (ended_ < fibers_.size()) {
      bool progress = false;
      if (order_ == Order::kWarpByWarp) {
        for (std::size_t warp = 0; warp < fibers_.size(); warp += kWarpSize) {
          const std::size_t end = std::min(warp + kWarpSize, fibers_.size());
          while (resume_all(warp, end)) {
            release_collectives(warp);
            progress = true;
          }
        }
      } else {
        progress = resume_all(0, fibers_.size());
        for (std::size_t warp = 0; warp < fibers_.size(); warp += kWarpSize) {
          progress = release_collectives(warp) || progress;
        }
      }
      progress = release_barrier() || progress;
      if (!progress) {
        failure_ = std::make_exception_ptr(Error(ErrorKind::kInternal, stuck()));
        unwind();
      }
    }
  }

  const Position& position() const { return fibers_[current_].position; }
  std::byte* shared() const { return shared_.get(); }

  void check_shared(const void* at, std::size_t bytes, std::string_view what) const {
    const auto address = reinterpret_cast<std::uintptr_t>(at);
    const auto begin = reinterpret_cast<std::uintptr_t>(shared_.get());
    FRUGAL_CHECK(address >= begin && address + bytes <= begin + grid_.shared_bytes, where(current_),
                 ": ", what, " outside shared memory");
    FRUGAL_CHECK(address % bytes == 0, where(current_), ": ", what,
                 " at an address that is not a multiple of ", bytes);
  }

  void copy_async(const Copy& copy) {
    std::memset(copy.to, 0xff, kCopied);
    fibers_[current_].copies.back().push_back(copy);
  }
  void commit_copies() { fibers_[current_].copies.emplace_back(); }
  void wait_copies(int pending) {
    auto& groups = fibers_[current_].copies;
    while (static_cast<int>(groups.size()) - 1 > pending) {
      for (const Copy& copy : groups.front()) {
        if (copy.from == nullptr) {
          std::memset(copy.to, 0, kCopied);
        } else {
          std::memcpy(copy.to, copy.from, kCopied);
        }
      }
      groups.erase(groups.begin());
    }
  }

  void wait_at_barrier() {
    fibers_[current_].wait = Wait::kBarrier;
    leave();
  }

  // Returns the fiber's warp, whose members' offers are complete.
  void wait_in_warp(unsigned mask, const void* offer, std::size_t bytes) {
    Fiber& own = fibers_[current_];
    FRUGAL_CHECK((mask >> (current_ % kWarpSize) & 1U) != 0, where(current_),
                 " takes part in a collective whose mask it is not in");
    own.mask = mask;
    own.wait = Wait::kWarp;
    std::memcpy(own.offered.data(), offer, bytes);
    leave();
  }
  // What a lane of the caller's warp offered to the last collective of both.
  const std::byte* published(int lane) const {
    return published_[current_ / kWarpSize * kWarpSize + static_cast<std::size_t>(lane)].data();
  }

 private:
  static constexpr std::align_val_t kSharedAlignment{16};
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, kSharedAlignment); }
  };
  struct Unwound {};  // thrown into fibers of a launch that has failed

  // Lets those of threads [begin, end) that can go on do so, once each; false: none can.
  bool resume_all(std::size_t begin, std::size_t end) {
    bool any = false;
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t t = begin + turn(i - begin, end - begin);
      if (fibers_[t].wait != Wait::kNothing) continue;
      resume(t);
      any = true;
      if (failure_) unwind();
    }
    ++round_;
    return any;
  }

  // The one of `count` threads that goes i-th in this round.
  std::size_t turn(std::size_t i, std::size_t count) const {
    if (order_ == Order::kDescending) return count - 1 - i;
    if (order_ != Order::kMixed) return i;
    // A rotation that differs between rounds, odd rounds backwards.
    const std::size_t turned = (i + round_ * 7 + 5) % count;
    return round_ % 2 == 0 ? turned : count - 1 - turned;
  }

  void start(std::size_t t) {
    Stack& stack = *stacks_[t];
    const context::stack_context view = stack.view();
    fibers_[t].self =
        context::fiber(std::allocator_arg, context::preallocated(view.sp, view.size, view),
                       KeepStack(), [this, t](context::fiber&& scheduler) {
                         scheduler_ = std::move(scheduler);
                         fibers_[t].stack_switch.arrive(&main_);
                         try {
                           body_();
                           check_copies_arrived();
                         } catch (const Unwound&) {
                         } catch (const context::detail::forced_unwind&) {
                           throw;
                         } catch (...) {
                           failure_ = std::current_exception();
                         }
                         fibers_[t].wait = Wait::kEnded;
                         ++ended_;
                         fibers_[t].stack_switch.leave(main_.bottom(), main_.size(), true);
                         return std::move(scheduler_);
                       });
  }

  void resume(std::size_t t) {
    current_ = t;
    fibers_[t].started = true;
    main_.leave(stacks_[t]->bottom(), Stack::size());
    fibers_[t].self = std::move(fibers_[t].self).resume();
    main_.arrive();
  }

  // The running fiber lets the scheduler go on.
  void leave() {
    Fiber& own = fibers_[current_];
    own.stack_switch.leave(main_.bottom(), main_.size());
    scheduler_ = std::move(scheduler_).resume();
    own.stack_switch.arrive(&main_);
    if (unwinding_) throw Unwound{};
  }

  // Ends every fiber, so that what is on their stacks is destroyed, and throws what failed.
  void unwind() {
    unwinding_ = true;
    for (std::size_t t = 0; t < fibers_.size(); ++t) {
      if (fibers_[t].started && fibers_[t].wait != Wait::kEnded) resume(t);
    }
    std::rethrow_exception(failure_);
  }

  void check_copies_arrived() const {
    for (const auto& group : fibers_[current_].copies) {
      FRUGAL_CHECK(group.empty(), where(current_),
                   " ends without waiting for copies to shared memory");
    }
  }

  bool release_barrier() {
    const auto waits = [](const Fiber& f) { return f.wait == Wait::kBarrier; };
    const bool all = std::ranges::all_of(
        fibers_, [&](const Fiber& f) { return waits(f) || f.wait == Wait::kEnded; });
    if (!all || std::ranges::none_of(fibers_, waits)) return false;
    for (Fiber& fiber : fibers_) {
      if (waits(fiber)) fiber.wait = Wait::kNothing;
    }
    return true;
  }

  // Of the warp that begins at a thread.
  bool release_collectives(std::size_t begin) {
    bool any = false;
    for (std::size_t t = begin; t < std::min(begin + kWarpSize, fibers_.size()); ++t) {
      if (fibers_[t].wait != Wait::kWarp || !complete(begin, fibers_[t].mask)) continue;
      const unsigned mask = fibers_[t].mask;
      for (std::size_t lane = 0; lane < kWarpSize; ++lane) {
        if ((mask >> lane & 1U) == 0) continue;
        published_[begin + lane] = fibers_[begin + lane].offered;
        fibers_[begin + lane].wait = Wait::kNothing;
      }
      any = true;
    }
    return any;
  }
  // Whether all lanes of the mask wait for each other.
  bool complete(std::size_t begin, unsigned mask) const {
    for (std::size_t lane = 0; lane < kWarpSize; ++lane) {
      if ((mask >> lane & 1U) == 0) continue;
      if (begin + lane >= fibers_.size()) return false;
      const Fiber& fiber = fibers_[begin + lane];
      if (fiber.wait != Wait::kWarp || fiber.mask != mask) return false;
    }
    return true;
  }

  std::string where(std::size_t t) const {
    const Position& p = fibers_[t].position;
    return concat(grid_.name, ": thread ", t, " of block (", p.block.x, ", ", p.block.y, ")");
  }
  std::string stuck() const {
    for (std::size_t t = 0; t < fibers_.size(); ++t) {
      const Fiber& f = fibers_[t];
      if (f.wait == Wait::kBarrier) {
        return where(t) + " waits for ever at a barrier, which others do not reach";
      }
      if (f.wait == Wait::kWarp) {
        return concat(where(t), " waits for ever in a collective of its warp, mask ", f.mask,
                      ", which a lane of the mask does not reach");
      }
    }
    return concat(grid_.name, ": stuck");
  }

  const Grid& grid_;
  const std::function<void()>& body_;
  Order order_;
  std::vector<std::unique_ptr<Stack>>& stacks_;
  std::vector<Fiber> fibers_;
  std::vector<std::array<std::byte, kOffered>> published_ =
      std::vector<std::array<std::byte, kOffered>>((fibers_.size() + kWarpSize - 1) / kWarpSize *
                                                   kWarpSize);
  std::unique_ptr<std::byte, Free> shared_;
  StackSwitch main_;
  context::fiber scheduler_;
  std::size_t current_ = 0, ended_ = 0, round_ = 0;
  bool unwinding_ = false;
  std::exception_ptr failure_;
};

thread_local Block* running = nullptr;
thread_local Order chosen_order = Order::kAscending;
thread_local Capability chosen_capability;

}  // namespace

void set_order(Order order) {
  chosen_order = order;
}

void set_capability(const Capability& capability) {
  chosen_capability = capability;
}

const Capability& capability() {
  return chosen_capability;
}

const Position& position() {
  return running->position();
}

std::byte* shared_memory() {
  return running->shared();
}

void* scratch(std::size_t bytes) {
  static std::mutex mutex;
  static std::vector<std::unique_ptr<std::byte[]>> all;
  const std::lock_guard lock(mutex);
  std::byte* memory = all.emplace_back(new std::byte[bytes]).get();
  std::memset(memory, 0xff, bytes);
  return memory;
}

void barrier() {
  running->wait_at_barrier();
}

void check_shared(const void* at, std::size_t bytes, std::string_view what) {
  running->check_shared(at, bytes, what);
}

void copy_async(void* to, const void* from) {
  running->check_shared(to, kCopied, "a copy");
  FRUGAL_CHECK(reinterpret_cast<std::uintptr_t>(from) % kCopied == 0,
               "a copy to shared memory from an address that is not a multiple of ", kCopied);
  running->copy_async({to, from});
}

void commit_copies() {
  running->commit_copies();
}

void wait_copies(int pending) {
  running->wait_copies(pending);
}

void offer(unsigned mask, const void* own, std::size_t bytes) {
  running->wait_in_warp(mask, own, bytes);
}

const std::byte* offered_by(int lane) {
  return running->published(lane);
}

void exchange(unsigned mask, const void* own, void* result, std::size_t bytes, int source_lane) {
  running->wait_in_warp(mask, own, bytes);
  FRUGAL_CHECK(source_lane >= 0 && source_lane < kWarpSize && (mask >> source_lane & 1U) != 0,
               "a shuffle reads lane ", source_lane, ", which is not in its mask ", mask);
  std::memcpy(result, running->published(source_lane), bytes);
}

unsigned ballot(unsigned mask, bool vote) {
  running->wait_in_warp(mask, &vote, sizeof vote);
  unsigned out = 0;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if ((mask >> lane & 1U) == 0) continue;
    bool other = false;
    std::memcpy(&other, running->published(lane), sizeof other);
    if (other) out |= 1U << lane;
  }
  return out;
}

void run_grid(const Grid& grid, const std::function<void()>& body) {
  FRUGAL_CHECK(grid.threads > 0 && grid.threads <= 1024, grid.name, ": a block of ", grid.threads,
               " threads");
  FRUGAL_CHECK(grid.shared_bytes <= chosen_capability.shared_bytes, grid.name, ": ",
               grid.shared_bytes, " bytes of shared memory, of ", chosen_capability.shared_bytes);
  thread_local std::vector<std::unique_ptr<Stack>> stacks;
  for (unsigned y = 0; y < grid.blocks.y; ++y) {
    for (unsigned x = 0; x < grid.blocks.x; ++x) {
      Block block(grid, {x, y, 0}, body, chosen_order, stacks);
      running = &block;
      block.run();
    }
  }
}

}  // namespace frugal::emulation
