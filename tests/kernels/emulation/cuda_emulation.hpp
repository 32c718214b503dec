// CUDA on the processor: the kernels' own sources, compiled by g++ with this header in front. Here is
// what they name and how they are launched; how their threads take turns is in fibers.hpp.
//
// Found are: barriers and shuffles that not all threads reach, lanes that a shuffle's mask leaves
// out, shared memory that is read before it is written, and, under ThreadSanitizer, races. Not
// emulated: lockstep, the memory model, registers and time.
#pragma once
#include <math.h>
#include <string.h>

#include <algorithm>
#include <type_traits>
#include <utility>

#include "fibers.hpp"

struct int3 {
  int x, y, z;
};

namespace emulation {

template <class... Arguments, size_t... I>
const char* launch(void (*kernel)(Arguments...), dim3 grid, dim3 block, void** arguments,
                   unsigned seed, std::index_sequence<I...>) {
  error[0] = 0;
  grid_size = grid;
  block_size = block;
  body = [=] { kernel(*static_cast<std::remove_cv_t<Arguments>*>(arguments[I])...); };
  make_threads();
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x && !error[0]; ++x) {
        block_index = {x, y, z};
        run_block(seed);
      }
  TSAN(for (Thread& thread : threads) __tsan_destroy_fiber(thread.fiber);)
  return error[0] ? error : nullptr;
}

// Where the arguments lie in the buffer that they were packed into. Whether it has their size.
template <class... Arguments>
bool unpack(void (*)(Arguments...), char* buffer, size_t size, void** arguments) {
  size_t offset = 0;
  const auto next = [&](size_t bytes) {  // as large as they are aligned: numbers and addresses
    offset = (offset + bytes - 1) / bytes * bytes;
    *arguments++ = buffer + offset;
    offset += bytes;
  };
  (next(sizeof(Arguments)), ...);
  return offset == size;
}

UNSEEN inline dim3 thread_index() { return current->index; }

}  // namespace emulation

// Makes a kernel callable from outside; arguments are pointers to the values, as in cuLaunchKernel.
#define EMULATE(KERNEL)                                                                       \
  extern "C" const char* emulate_##KERNEL(const unsigned* grid, const unsigned* block,        \
                                          void** arguments, unsigned seed) {                  \
    return [&]<class... A>(void (*kernel)(A...)) {                                            \
      return emulation::launch(kernel, {grid[0], grid[1], grid[2]},                           \
                               {block[0], block[1], block[2]}, arguments, seed,               \
                               std::index_sequence_for<A...>{});                              \
    }(KERNEL);                                                                                \
  }                                                                                           \
  extern "C" bool unpack_##KERNEL(char* buffer, size_t size, void** arguments) {              \
    return emulation::unpack(KERNEL, buffer, size, arguments);                                \
  }                                                                                           \
  extern "C" unsigned sizes_##KERNEL(unsigned* sizes) {                                       \
    return [&]<class... A>(void (*)(A...)) -> unsigned {                                      \
      return ((*sizes++ = sizeof(A)), ..., 0), sizeof...(A);                                  \
    }(KERNEL);                                                                                \
  }

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static thread_local
#define threadIdx emulation::thread_index()
#define blockIdx emulation::block_index
#define blockDim emulation::block_size
#define gridDim emulation::grid_size
#define __syncthreads() emulation::barrier(__LINE__)
#define __shfl_down_sync(lanes, value, by) \
  emulation::exchange(lanes, value, emulation::current->number % 32 + (by), __LINE__)
#define __shfl_xor_sync(lanes, value, by) \
  emulation::exchange(lanes, value, emulation::current->number % 32 ^ (by), __LINE__)

using std::max;
using std::min;
inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float value) { return expf(value); }
inline float __int_as_float(int bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
