// CUDA kernels on the CPU: what a kernel's source needs of the language, for the host compiler.
//
// The threads of a block are fibers of one host thread. A fiber runs until a barrier or a warp's
// collective and then lets another one go on, in an order that tests choose: code that needs a
// barrier it does not have reads what nobody has written yet in one of the orders. Shared memory is
// exactly as large as the launch says, is on the heap, so that AddressSanitizer sees its ends, and
// begins as NaN. A thread that the others wait for in vain fails the launch with who waits where.
//
// Not emulated: races inside what a hardware warp does in one step, memory order between blocks,
// and time.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>
#include <type_traits>

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

namespace frugal::emulation {

constexpr int kWarpSize = 32;

// In which order threads that could go on do: all in turn, from one collective to the next; or a
// warp alone, until a barrier stops it.
enum class Order : std::uint8_t { kAscending, kDescending, kMixed, kWarpByWarp };
constexpr Order kOrders[] = {Order::kAscending, Order::kDescending, Order::kMixed,
                             Order::kWarpByWarp};
// For launches of the calling thread from now on.
void set_order(Order order);

// Where the running fiber stands.
struct Position {
  dim3 thread, block, block_size, grid_size;
};
const Position& position();

// Runs body once for every thread of the grid, block after block, on the calling thread. name: for
// messages. Throws Error(kInternal) when threads wait for ever, or leave a warp's collective or a
// block before the others reach it.
struct Grid {
  std::string_view name;
  dim3 blocks;
  unsigned threads = 1;
  std::size_t shared_bytes = 0;
};
void run_grid(const Grid& grid, const std::function<void()>& body);

// The block's shared memory; 16-byte aligned.
std::byte* shared_memory();

// Scratch in global memory, exactly as large as asked for and all NaN. Never reused: work may be
// put off.
void* scratch(std::size_t bytes);

// Waits for all threads of the block that have not ended.
void barrier();

// Hands `bytes` (at most 16) of every lane of mask to all of them; returns those of source_lane.
// Lanes of mask wait for one another. REQUIRES: the caller is in mask, and so is source_lane.
void exchange(unsigned mask, const void* own, void* result, std::size_t bytes, int source_lane);
// The lanes of mask whose vote is true.
unsigned ballot(unsigned mask, bool vote);

inline int lane() {
  return static_cast<int>(position().thread.x) % kWarpSize;
}

template <class T>
T shuffle(unsigned mask, T value, int source_lane) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16);
  T result;
  exchange(mask, &value, &result, sizeof(T), source_lane);
  return result;
}

}  // namespace frugal::emulation

// The language. Names are CUDA's.
// NOLINTBEGIN(bugprone-reserved-identifier, bugprone-macro-parentheses)
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

#define threadIdx (::frugal::emulation::position().thread)
#define blockIdx (::frugal::emulation::position().block)
#define blockDim (::frugal::emulation::position().block_size)
#define gridDim (::frugal::emulation::position().grid_size)

inline void __syncthreads() {
  ::frugal::emulation::barrier();
}
inline void __syncwarp(unsigned mask = 0xffffffffU) {
  ::frugal::emulation::ballot(mask, true);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source) {
  return ::frugal::emulation::shuffle(mask, value, source % ::frugal::emulation::kWarpSize);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask) {
  return ::frugal::emulation::shuffle(mask, value, ::frugal::emulation::lane() ^ lane_mask);
}
// Lanes whose source lies outside the warp keep their own value.
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta) {
  const int own = ::frugal::emulation::lane(), from = own + static_cast<int>(delta);
  return ::frugal::emulation::shuffle(mask, value,
                                      from < ::frugal::emulation::kWarpSize ? from : own);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta) {
  const int own = ::frugal::emulation::lane(), from = own - static_cast<int>(delta);
  return ::frugal::emulation::shuffle(mask, value, from >= 0 ? from : own);
}
inline unsigned __ballot_sync(unsigned mask, int vote) {
  return ::frugal::emulation::ballot(mask, vote != 0);
}
inline int __any_sync(unsigned mask, int vote) {
  return static_cast<int>(::frugal::emulation::ballot(mask, vote != 0) != 0);
}
inline double cospi(double x) {
  return std::cos(3.141592653589793 * x);
}
inline double sinpi(double x) {
  return std::sin(3.141592653589793 * x);
}
// The number of the lowest set bit, from 1; 0: none.
inline int __ffs(int x) {
  return __builtin_ffs(x);
}
// NOLINTEND(bugprone-reserved-identifier, bugprone-macro-parentheses)
