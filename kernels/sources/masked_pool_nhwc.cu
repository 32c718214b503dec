// masked_pool for features with their channels last, as cuDNN's half-precision convolutions leave
// them: (1, h, w, C), (T, 1, h, w) -> (T, C).
//
// Moves  as masked_pool.cu: C*h*w features and T*h*w masks in, T*C out.
// How    A block sums the few neighbouring channels of one vector, a thread a share of the places,
//        under up to TILE masks. Of few channels it takes 4, so that C = 256 makes 64 blocks, which
//        read each sector of 32 bytes four times from the L2 (half precision); of many it takes 8.
//        More blocks would have to share channels, and adding up their parts would take a second
//        kernel or an output set to zero before.
#include "common.cuh"

constexpr int THREADS = 512;
constexpr int WARPS = THREADS / WARP;
constexpr int MANY = 512;  // channels; the launch counts on it
constexpr int SHARED = WARPS * 64;  // of all paths' partial sums the most

template <int TILE, int N, bool TOGETHER, class T>
__device__ void pool(const T* features, const float* masks, int count, int channels, int size,
                     int area, float* partial, T* pooled) {
  constexpr int ROUNDS = (TILE * (N + 1) + WARP - 1) / WARP, VALUES = ROUNDS * WARP;
  constexpr int UNROLL = 16 / N;  // loads of features that are under way at a time
  static_assert(WARPS * VALUES <= SHARED, "partial sums need more shared memory");
  const int first = blockIdx.x * N;
  const T* column = features + first;

  float values[ROUNDS][WARP] = {};  // of mask t and channel i in t * N + i, areas behind them
  for (int place = threadIdx.x; place < size; place += THREADS * UNROLL) {
    float feature[UNROLL][N], mask[UNROLL][TILE];
#pragma unroll
    for (int u = 0; u < UNROLL; ++u) {
      const int at = place + u * THREADS, safe = min(at, size - 1);
      const T* source = column + (size_t)safe * channels;
      if (TOGETHER) {
        load<N>(source, feature[u]);
      } else {  // channels beyond the last read that one again and do not write
#pragma unroll
        for (int i = 0; i < N; ++i)
          feature[u][i] = to_float(source[min(i, channels - 1 - first)]);
      }
#pragma unroll
      for (int t = 0; t < TILE; ++t)
        mask[u][t] = at < size && t < count ? masks[(size_t)t * size + safe] : 0.0f;
    }
#pragma unroll
    for (int u = 0; u < UNROLL; ++u) {
#pragma unroll
      for (int t = 0; t < TILE; ++t) {
        const int covered = TILE * N + t;
        values[covered / WARP][covered % WARP] += mask[u][t];
#pragma unroll
        for (int i = 0; i < N; ++i)
          values[(t * N + i) / WARP][(t * N + i) % WARP] += mask[u][t] * feature[u][i];
      }
    }
  }

  const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
#pragma unroll
  for (int r = 0; r < ROUNDS; ++r)
    partial[warp * VALUES + r * WARP + lane] = warp_sums(values[r]);
  __syncthreads();
  const int t = threadIdx.x / N, i = threadIdx.x % N;
  if (t < count && first + i < channels) {
    float total = 0.0f, covered = 0.0f;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) {
      total += partial[w * VALUES + t * N + i];
      covered += partial[w * VALUES + TILE * N + t];
    }
    from_float(total / (area ? covered + AREA_EPSILON : (float)size),
               pooled[(size_t)t * channels + first + i]);
  }
}

template <int N, class T>
__device__ void masked_pool(const T* features, const float* masks, int count, int channels,
                            int size, int area, T* pooled) {
  constexpr int TILE = 5;
  __shared__ float partial[SHARED];
  const bool together = channels % N == 0 && aligned(features, N);
  if (together && count == 1)
    return pool<1, N, true>(features, masks, 1, channels, size, area, partial, pooled);
  for (int t = 0; t < count; t += TILE) {
    const float* own = masks + (size_t)t * size;
    T* result = pooled + (size_t)t * channels;
    const int some = min(count - t, TILE);
    if (together)
      pool<TILE, N, true>(features, own, some, channels, size, area, partial, result);
    else
      pool<TILE, N, false>(features, own, some, channels, size, area, partial, result);
    __syncthreads();  // the next masks use the same shared memory
  }
}

#define ENTRY(NAME, T)                                                                         \
  extern "C" __global__ void __launch_bounds__(THREADS, 1)                                     \
      NAME(const T* features, const float* masks, int count, int channels, int size, int area, \
           T* pooled) {                                                                        \
    if (channels < MANY)                                                                       \
      masked_pool<4>(features, masks, count, channels, size, area, pooled);                    \
    else                                                                                       \
      masked_pool<8>(features, masks, count, channels, size, area, pooled);                    \
  }
ENTRY(masked_pool_nhwc_f32, float)
ENTRY(masked_pool_nhwc_f16, __half)
ENTRY(masked_pool_nhwc_bf16, __nv_bfloat16)
