// Kernels with a fault each, which the emulation must find, and one without.
#include "common.cuh"

template <class T>
__device__ void reverse(const T* values, T* result, bool wait) {
  __shared__ T shared[64];
  shared[threadIdx.x] = values[threadIdx.x];
  if (wait) __syncthreads();
  result[threadIdx.x] = shared[63 - threadIdx.x];
}
extern "C" __global__ void correct(const float* values, float* result) {
  reverse(values, result, true);
}
extern "C" __global__ void no_barrier(const float* values, float* result) {
  reverse(values, result, false);
}
extern "C" __global__ void divergent_barrier(const float* values, float* result) {
  if (threadIdx.x < 40) __syncthreads();
  result[threadIdx.x] = values[threadIdx.x];
}
extern "C" __global__ void divergent_shuffle(const float* values, float* result) {
  if (threadIdx.x < 40) result[threadIdx.x] = warp_sum(values[threadIdx.x]);
}
extern "C" __global__ void two_barriers(const float* values, float* result) {
  if (threadIdx.x < 40)
    __syncthreads();
  else
    __syncthreads();
  result[threadIdx.x] = values[threadIdx.x];
}
