// CUDA kernels on the CPU: what a kernel's source needs of the language, for the host compiler.
//
// The threads of a block are fibers of one host thread. A fiber runs until a barrier or a warp's
// collective and then lets another one go on, in an order that tests choose: code that needs a
// barrier it does not have reads what nobody has written yet in one of the orders. Shared memory is
// exactly as large as the launch says, is on the heap, so that AddressSanitizer sees its ends, and
// begins as NaN. A thread that the others wait for in vain fails the launch with who waits where.
//
// Asynchronous copies to shared memory arrive when the thread that began them waits, not sooner.
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

// What the GPU can do.
struct Capability {
  int version = 120;                                 // 75: Turing, 80: Ampere, ...
  std::size_t shared_bytes = std::size_t{99} << 10;  // at most, of a block
};
// For launches of the calling thread from now on.
void set_capability(const Capability& capability);
const Capability& capability();

// Runs body once for every thread of the grid, block after block, on the calling thread. name: for
// messages. Throws Error(kInternal) when threads wait for ever, leave a warp's collective or a
// block before the others reach it, or when a block wants more shared memory than there is.
struct Grid {
  std::string_view name;
  dim3 blocks;
  unsigned threads = 1;
  std::size_t shared_bytes = 0;
};
void run_grid(const Grid& grid, const std::function<void()>& body);

// The block's shared memory; 16-byte aligned.
std::byte* shared_memory();
// Throws unless these bytes are the block's shared memory, aligned to their number. what: for
// messages.
void check_shared(const void* at, std::size_t bytes, std::string_view what);

// Scratch in global memory, exactly as large as asked for and all NaN. Never reused: work may be
// put off.
void* scratch(std::size_t bytes);

// Waits for all threads of the block that have not ended.
void barrier();

// Hands `bytes` (at most 32) of every lane of mask to all of them. Lanes of mask wait for one
// another. REQUIRES: the caller is in mask.
void offer(unsigned mask, const void* own, std::size_t bytes);
// What a lane of the mask offered to the caller's last collective.
const std::byte* offered_by(int lane);
// Both; result: what source_lane offered. REQUIRES: source_lane is in mask.
void exchange(unsigned mask, const void* own, void* result, std::size_t bytes, int source_lane);
// The lanes of mask whose vote is true.
unsigned ballot(unsigned mask, bool vote);

// Begins the copy of 16 bytes to shared memory, where there is NaN until it arrives; from null: of
// zeros. A group of copies ends with the commit; they arrive in a wait that leaves fewer than this
// group pending. A thread that ends with copies it has not waited for fails the launch.
void copy_async(void* to, const void* from);
void commit_copies();
void wait_copies(int pending);

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
#define __grid_constant__
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
// How many bits are set.
inline int __popc(unsigned x) {
  return __builtin_popcount(x);
}
// NOLINTEND(bugprone-reserved-identifier, bugprone-macro-parentheses)
