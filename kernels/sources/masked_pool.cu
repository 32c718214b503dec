// Eq. 3, f_p(M ⊗ F), for T masks over one map: (1, C, h, w), (T, 1, h, w) -> (T, C).
//
// Moves  C*h*w features and T*h*w masks in, T*C out; 2*T*C*h*w operations. The floor is the
//        features' bytes over the memory's bandwidth: at C = 256, 60 x 60, float16 1.8 MB.
// How    One block sums whole planes of a few channels under a few masks. The blocks do not share a
//        plane: adding up their parts would take a second kernel, an output set to zero before, or
//        a workspace, and a plan's plugin has none of them.
//        What a block reads, others read, too, from the second-level cache: the masks with other
//        channels, the channels with other masks. The launch decides on what makes about as many
//        blocks as there are multiprocessors of 256 channels and reads least: two channels under up
//        to three masks, or four channels under half of up to ten. Many channels are too large for
//        the cache: there it is four channels under up to five masks, and the features are read
//        once. The kernel reads it off the grid.
//        A small map is a matter of latency: where h*w is a multiple of eight and the addresses
//        allow it, a thread reads eight places at once, 16 bytes at a time, so that 60 x 60 places
//        are one round of the loop, in which every load is under way before the first is used.
//        Masks come at the size of the features; see masked_pool_resized.cu for those of an image.
#include "common.cuh"

constexpr int THREADS = 512;
constexpr int WARPS = THREADS / WARP;

__device__ constexpr int power_of_two(int least) {
  int power = 1;
  while (power < least) power *= 2;
  return power;
}

// Adds N places at a time; sums are those of each mask's channels, then those of each mask's area.
template <int N, int MASKS, int CHANNELS, int SUMS, class T>
__device__ void accumulate(const T* const (&planes)[CHANNELS], const float* const (&masks)[MASKS],
                           int size, float (&sums)[SUMS]) {
  for (int place = threadIdx.x * N; place < size; place += THREADS * N) {
    float features[CHANNELS][N], mask[MASKS][N];
#pragma unroll
    for (int c = 0; c < CHANNELS; ++c) load<N>(planes[c] + place, features[c]);
#pragma unroll
    for (int t = 0; t < MASKS; ++t) load<N>(masks[t] + place, mask[t]);
#pragma unroll
    for (int t = 0; t < MASKS; ++t) {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        sums[MASKS * CHANNELS + t] += mask[t][i];
#pragma unroll
        for (int c = 0; c < CHANNELS; ++c) sums[t * CHANNELS + c] += mask[t][i] * features[c][i];
      }
    }
  }
}

// All `count` masks, up to MASKS, with the channels of this block.
template <int MASKS, int CHANNELS, class T>
__device__ void pool(const T* features, const float* masks, int count, int channels, int size,
                     int area, T* pooled) {
  constexpr int SUMS = power_of_two(MASKS * (CHANNELS + 1));
  constexpr int LANES = WARP / SUMS;  // that get the same sum
  __shared__ float partial[WARPS][SUMS];
  const int first = blockIdx.x * CHANNELS;
  // What is beyond the last channel or mask is that one again, and is not written.
  const T* planes[CHANNELS];
  const float* maps[MASKS];
#pragma unroll
  for (int c = 0; c < CHANNELS; ++c)
    planes[c] = features + (size_t)min(first + c, channels - 1) * size;
#pragma unroll
  for (int t = 0; t < MASKS; ++t) maps[t] = masks + (size_t)min(t, count - 1) * size;

  float sums[SUMS] = {};
  if (size % 8 == 0 && aligned(features, 8) && aligned(masks, 8))
    accumulate<8>(planes, maps, size, sums);
  else if (size % 4 == 0 && aligned(features, 4) && aligned(masks, 4))
    accumulate<4>(planes, maps, size, sums);
  else
    accumulate<1>(planes, maps, size, sums);

  const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  const float sum = warp_sums(sums);
  if (lane % LANES == 0) partial[warp][lane / LANES] = sum;
  __syncthreads();
  const int t = threadIdx.x / CHANNELS, c = threadIdx.x % CHANNELS;
  if (t < count && first + c < channels) {
    float total = 0.0f, covered = 0.0f;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) {
      total += partial[w][t * CHANNELS + c];
      covered += partial[w][MASKS * CHANNELS + t];
    }
    const float divisor = area ? covered + AREA_EPSILON : (float)size;
    from_float(__fdividef(total, divisor), pooled[(size_t)t * channels + first + c]);
  }
}

template <class T>
__device__ void masked_pool(const T* features, const float* masks, int count, int channels,
                            int size, int area, T* pooled) {
  const int share = (count + gridDim.y - 1) / gridDim.y, from = blockIdx.y * share;
  const int own = min(share, count - from);
  masks += (size_t)from * size;
  pooled += (size_t)from * channels;
  const bool two = gridDim.x * 2 >= channels;
  if (share == 1 && two)
    pool<1, 2>(features, masks, own, channels, size, area, pooled);
  else if (share == 1)
    pool<1, 4>(features, masks, own, channels, size, area, pooled);
  else if (share <= 3 && two)
    pool<3, 2>(features, masks, own, channels, size, area, pooled);
  else if (share <= 3)
    pool<3, 4>(features, masks, own, channels, size, area, pooled);
  else
    pool<5, 4>(features, masks, own, channels, size, area, pooled);
}

#define ENTRY(NAME, T)                                                                         \
  extern "C" __global__ void __launch_bounds__(THREADS, 1)                                     \
      NAME(const T* __restrict__ features, const float* __restrict__ masks, int count,         \
           int channels, int size, int area, T* __restrict__ pooled) {                         \
    masked_pool(features, masks, count, channels, size, area, pooled);                         \
  }
ENTRY(masked_pool_f32, float)
ENTRY(masked_pool_f16, __half)
ENTRY(masked_pool_bf16, __nv_bfloat16)
