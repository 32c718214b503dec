// Eq. 3, f_p(M ⊗ F), for T masks over one map: (1, C, h, w), (T, 1, h, w) -> (T, C).
//
// Moves  C*h*w features and T*h*w masks in, T*C out; 2*T*C*h*w operations. The floor is the
//        features' bytes over the memory's bandwidth: at C = 256, 60 x 60, float16 1.8 MB.
// How    One block sums two channels under up to TILE masks: every feature is read once for up to
//        ten masks. Two channels per block make 128 blocks of 256 channels, about one for each
//        multiprocessor; more would share the masks' loads better and leave processors idle.
//        The blocks do not share a plane: adding up their parts would take a second kernel, an
//        output set to zero before, or a workspace, and a plan's plugin has none of them.
//        Masks come at the size of the features; see masked_pool_resized.cu for those of an image.
//        Where h*w is a multiple of 4 and the addresses allow it, four places are read at once.
#include "common.cuh"

constexpr int THREADS = 256;
constexpr int CHANNELS = 2;
constexpr int VECTOR = 4;
constexpr float AREA_EPSILON = 5e-4f;

template <int TILE, int N, class T>
__device__ void accumulate(const T* const (&planes)[CHANNELS], const float* masks, int count,
                           int size, float (&sums)[TILE][CHANNELS], float (&areas)[TILE]) {
  for (int place = threadIdx.x * N; place < size; place += THREADS * N) {
    float features[CHANNELS][N];
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) load<N>(planes[c] + place, features[c]);
#pragma unroll
    for (int t = 0; t < TILE; ++t) {
      if (t >= count) break;
      float mask[N];
      load<N>(masks + (size_t)t * size + place, mask);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        areas[t] += mask[i];
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) sums[t][c] += mask[i] * features[c][i];
      }
    }
  }
}

template <int TILE, class T>
__device__ void pool(const T* features, const float* masks, int count, int channels, int size,
                     int area, T* pooled) {
  constexpr int VALUES = TILE * (CHANNELS + 1);
  __shared__ float partial[THREADS / WARP][VALUES];
  const int first = blockIdx.x * CHANNELS;
  const T* planes[CHANNELS];
  // A block beyond the last channel reads that one again and does not write.
  for (int c = 0; c < CHANNELS; ++c)
    planes[c] = features + (size_t)min(first + c, channels - 1) * size;

  float sums[TILE][CHANNELS] = {}, areas[TILE] = {};
  if (size % VECTOR == 0 && aligned(features, VECTOR) && aligned(masks, VECTOR))
    accumulate<TILE, VECTOR>(planes, masks, count, size, sums, areas);
  else
    accumulate<TILE, 1>(planes, masks, count, size, sums, areas);

  const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
#pragma unroll
  for (int t = 0; t < TILE; ++t) {
    if (t >= count) break;
#pragma unroll
    for (int c = 0; c <= CHANNELS; ++c) {
      const float sum = warp_sum(c < CHANNELS ? sums[t][c % CHANNELS] : areas[t]);
      if (lane == 0) partial[warp][t * (CHANNELS + 1) + c] = sum;
    }
  }
  __syncthreads();
  const int t = threadIdx.x / CHANNELS, c = threadIdx.x % CHANNELS;
  if (t < count && t < TILE && first + c < channels) {
    float total = 0.0f, covered = 0.0f;
    for (int w = 0; w < THREADS / WARP; ++w) {
      total += partial[w][t * (CHANNELS + 1) + c];
      covered += partial[w][t * (CHANNELS + 1) + CHANNELS];
    }
    const float divisor = area ? covered + AREA_EPSILON : (float)size;
    from_float(total / divisor, pooled[(size_t)t * channels + first + c]);
  }
}

template <class T>
__device__ void masked_pool(const T* features, const float* masks, int count, int channels,
                            int size, int area, T* pooled) {
  constexpr int TILE = 10;
  if (count == 1) return pool<1>(features, masks, 1, channels, size, area, pooled);
  if (count <= 5) return pool<5>(features, masks, count, channels, size, area, pooled);
  for (int t = 0; t < count; t += TILE) {
    pool<TILE>(features, masks + (size_t)t * size, min(count - t, TILE), channels, size, area,
               pooled + (size_t)t * channels);
    __syncthreads();  // the next masks use the same shared memory
  }
}

#define ENTRY(NAME, T)                                                                         \
  extern "C" __global__ void __launch_bounds__(THREADS)                                        \
      NAME(const T* features, const float* masks, int count, int channels, int size, int area, \
           T* pooled) {                                                                        \
    masked_pool(features, masks, count, channels, size, area, pooled);                         \
  }
ENTRY(masked_pool_f32, float)
ENTRY(masked_pool_f16, __half)
ENTRY(masked_pool_bf16, __nv_bfloat16)
