// A warp's products of small matrices on tensor cores, and what feeds them: matrices from shared
// memory, and copies to it that do not wait. Elements have 16 bits: Float16 (from compute
// capability 7.5 on) or BFloat16 (from 8.0 on).
#pragma once

#include <type_traits>

#include "kernels/core/dtype.h"
#include "kernels/cuda/device/element.h"
#include "kernels/cuda/device/language.h"
#ifndef __CUDACC__
#include "kernels/cuda/emulation/mma.h"
#endif

namespace frugal::cu {

// Whether the code is for the first architecture of tensor cores that there is code for.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr bool kTuring = true;
#else
constexpr bool kTuring = false;
#endif

// Two elements in a register, as tensor cores take them: `low` in the low half. Rounds to nearest.
template <class T>
__device__ __forceinline__ unsigned pack_pair(float low, float high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  unsigned out = 0;
  if constexpr (std::is_same_v<T, Float16>) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  } else {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
  }
  return out;
#else
  return from_float<T>(low).bits | static_cast<unsigned>(from_float<T>(high).bits) << 16;
#endif
}

#ifdef __CUDACC__

// An address that instructions for shared memory take.
__device__ __forceinline__ unsigned shared_address(const void* at) {
  return static_cast<unsigned>(__cvta_generic_to_shared(at));
}

// d += a b, of 16x16 and 16x8 elements. Collective of a warp. Which element a lane holds:
// kernels/cuda/emulation/mma.h.
template <class T>
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const unsigned (&a)[4], unsigned b0,
                                            unsigned b1) {
#if __CUDA_ARCH__ >= 800
  if constexpr (std::is_same_v<T, Float16>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    static_assert(std::is_same_v<T, BFloat16>);
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
#else
  if constexpr (std::is_same_v<T, Float16>) {
    // Half the depth: columns 0 to 7 of a and rows 0 to 7 of b, then the others.
    const auto half = [&](unsigned a0, unsigned a1, unsigned b) {
      asm volatile(
          "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
          "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
          : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
          : "r"(a0), "r"(a1), "r"(b));
    };
    half(a[0], a[1], b0);
    half(a[2], a[3], b1);
  } else {
    __trap();  // no tensor core of this architecture takes bfloat16; callers ask first
  }
#endif
}

// Four 8x8 matrices from shared memory, one in each register of `out`. row: the address of 16
// bytes, aligned; lane l gives row l % 8 of matrix l / 8. Collective of a warp. Which element a
// lane receives: kernels/cuda/emulation/mma.h.
__device__ __forceinline__ void ldmatrix_x4(unsigned (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_transposed(unsigned (&out)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
}

// Begins to copy 16 bytes to shared memory; where `exists` is false, of zeros. Both addresses are
// aligned, and `from` is one of global memory. The thread sees the bytes after wait_copies, others
// after a barrier behind that. Without waiting only from compute capability 8.0 on.
__device__ __forceinline__ void copy_async(void* to, const void* from, bool exists) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
               "l"(__cvta_generic_to_global(from)), "r"(exists ? 16 : 0)
               : "memory");
#else
  *static_cast<uint4*>(to) = exists ? *static_cast<const uint4*>(from) : uint4{0, 0, 0, 0};
#endif
}
// Ends a group of copies.
__device__ __forceinline__ void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Waits for all groups of the thread's copies but the last kPending.
template <int kPending>
__device__ __forceinline__ void wait_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

#else

template <class T>
void mma_16x8x16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  emulation::mma_16x8x16<T>(d, {{a[0], a[1], a[2], a[3]}, {b0, b1}});
}
inline void ldmatrix_x4(unsigned (&out)[4], const void* row) {
  emulation::ldmatrix_x4(out, row, false);
}
inline void ldmatrix_x4_transposed(unsigned (&out)[4], const void* row) {
  emulation::ldmatrix_x4(out, row, true);
}
inline void copy_async(void* to, const void* from, bool exists) {
  emulation::copy_async(to, exists ? from : nullptr);
}
inline void commit_copies() {
  emulation::commit_copies();
}
template <int kPending>
void wait_copies() {
  emulation::wait_copies(kPending);
}

#endif

}  // namespace frugal::cu
