// What all kernels share: the number formats, vector access and the sum over a warp.
// The kernels use only what exists on every GPU from compute capability 7.5 on, static shared
// memory below 48 KiB and plain entries, so that a TensorRT plan can hold them.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }
__device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

__device__ inline void from_float(float value, float& result) { result = value; }
__device__ inline void from_float(float value, __half& result) { result = __float2half(value); }
__device__ inline void from_float(float value, __nv_bfloat16& result) {
  result = __float2bfloat16(value);
}

// N values that are read or written as one; the address must be a multiple of their size.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T values[N];
};

template <int N, class T>
__device__ inline void load(const T* source, float (&result)[N]) {
  const Pack<T, N> pack = *reinterpret_cast<const Pack<T, N>*>(source);
#pragma unroll
  for (int i = 0; i < N; ++i) result[i] = to_float(pack.values[i]);
}

template <int N, class T>
__device__ inline void store(const float (&values)[N], T* target) {
  Pack<T, N> pack;
#pragma unroll
  for (int i = 0; i < N; ++i) from_float(values[i], pack.values[i]);
  *reinterpret_cast<Pack<T, N>*>(target) = pack;
}

template <class T>
__device__ inline bool aligned(const T* pointer, int count) {
  return reinterpret_cast<unsigned long long>(pointer) % (sizeof(T) * count) == 0;
}

// The sum over the 32 lanes of a warp, valid in lane 0. All lanes must take part.
__device__ inline float warp_sum(float value) {
#pragma unroll
  for (int step = WARP / 2; step > 0; step /= 2) value += __shfl_down_sync(ALL_LANES, value, step);
  return value;
}

__device__ inline float sigmoid(float value) { return 1.0f / (1.0f + expf(-value)); }
