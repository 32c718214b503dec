// What kernels share: the number formats, vector access, sums over a warp and antialiasing.
// The kernels use only what exists on every GPU from compute capability 7.5 on, static shared
// memory below 48 KiB and plain entries, so that a TensorRT plan can hold them.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;
// Added to the area of a mask, in cells, so that an empty mask pools to zero.
constexpr float AREA_EPSILON = 5e-4f;

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(__half value) { return __half2float(value); }
__device__ inline float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }

__device__ inline void from_float(float value, float& result) { result = value; }
__device__ inline void from_float(float value, __half& result) { result = __float2half(value); }
__device__ inline void from_float(float value, __nv_bfloat16& result) {
  result = __float2bfloat16(value);
}

// The largest access of a thread, in bytes; what is longer becomes several of them.
constexpr int WIDEST = 16;

// N values that are read or written as one; the address must be a multiple of their size, or of
// WIDEST if that is less.
template <class T, int N>
struct alignas(sizeof(T) * N < WIDEST ? sizeof(T) * N : WIDEST) Pack {
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
  const int bytes = min((int)sizeof(T) * count, WIDEST);
  return reinterpret_cast<unsigned long long>(pointer) % bytes == 0;
}

// The sum over the 32 lanes of a warp, valid in lane 0. All lanes must take part.
__device__ inline float warp_sum(float value) {
#pragma unroll
  for (int step = WARP / 2; step > 0; step /= 2) value += __shfl_down_sync(ALL_LANES, value, step);
  return value;
}

// The sums of N values, a power of two up to 32, over the lanes of a warp: that of values[n] is
// returned in the 32 / N lanes from n * 32 / N on. All lanes must take part. Of the values that it
// still has, a lane gives one half to its partner and adds the partner's to the other half: N - 1
// shuffles, and one for each further halving, in place of five for each value.
template <int N>
__device__ inline float warp_sums(float (&values)[N]) {
  const int lane = threadIdx.x % WARP;
  int step = WARP / 2;
#pragma unroll
  for (int half = N / 2; half > 0; half /= 2, step /= 2) {
    const bool upper = lane & step;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      if (i >= half) break;
      const float kept = upper ? values[i + half] : values[i];
      const float given = upper ? values[i] : values[i + half];
      values[i] = kept + __shfl_xor_sync(ALL_LANES, given, step);
    }
  }
#pragma unroll
  for (step = WARP / 2 / N; step > 0; step /= 2)
    values[0] += __shfl_xor_sync(ALL_LANES, values[0], step);
  return values[0];
}

// Both within 5e-7 of the true value, which is less than half precision tells apart.
__device__ inline float sigmoid(float value) { return __fdividef(1.0f, 1.0f + __expf(-value)); }
__device__ inline float hyperbolic_tangent(float value) {
  return 2.0f * sigmoid(2.0f * value) - 1.0f;
}

// The quotient of numbers that are not negative, itself below 2^21; `inverse` is about 1 / divisor.
// A product of floats and its correction are far less than a division of integers.
__device__ inline int quotient(int dividend, int divisor, float inverse) {
  const int guess = (int)((float)dividend * inverse);
  const int rest = dividend - guess * divisor;
  return rest < 0 ? guess - 1 : rest >= divisor ? guess + 1 : guess;
}

// The triangle of one new pixel over a line of `length` old ones that becomes `size` new ones: a
// weight is 1 - |d| / reach with d the distance of the centres. Multiplied by twice the sizes it is
// a whole number, so that weights are exact however many pixels there are. Only those from `first`
// to before `last` are not 0.
struct Triangle {
  int centre, step, reach, first, last;

  __device__ Triangle(int index, int length, int size) {
    centre = (2 * index + 1) * length;
    step = 2 * size;
    reach = 2 * max(length, size);
    const float inverse = __fdividef(1.0f, (float)step);
    const int low = centre - reach - size;  // a pixel whose weight is 0, if there is one
    first = low < 0 ? 0 : quotient(low, step, inverse) + 1;
    last = min(quotient(centre + reach - size + step - 1, step, inverse), length);
  }
  // The weight of an old pixel, not divided by the sum.
  __device__ int weight(int position) const {
    const int distance = position * step + step / 2 - centre;
    return max(0, reach - (distance < 0 ? -distance : distance));
  }
};
