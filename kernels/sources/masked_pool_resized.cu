// Eq. 3, f_p(M ⊗ F), for T masks of image size over one map: (1, C, h, w), (T, 1, H, W) -> (T, C).
// M are the masks averaged to h x w as in export/resampling.py: bilinear, antialiased.
//
// Moves  C*h*w features and T*H*W masks in, T*C out; 2*T*C*h*w operations, and about 4*H*W for each
//        mask. At C = 256, 60 x 60, float16 and one mask of 473 x 473 that is 1.8 MB and 0.9 MB.
// How    A block pools CHANNELS channels, a warp each. It goes over the map in patches of one cell
//        for each thread: a thread sums its row's pixel rows under the triangle into shared memory,
//        a strip of pixels at a time, then its own columns, which gives its cell of a mask; then
//        the warps read the features of the patch, once for up to TILE masks.
//        No averaged mask is written, but every block averages the masks anew: the 16 blocks at
//        C = 256 read 14 MB of one mask from the L2 to save the 14 KB of the small one, and two
//        launches. So this is for where nothing else wants the small mask. With the paper's F1 =
//        M ⊗ F, with the prior or with attention over the shots something does, and it is averaged
//        once, for masked_pool; the masks of decode come at the size of the features. Whether it
//        gains on two products and masked_pool is a row of docs/gpu-results.md.
#include "common.cuh"

constexpr int ROWS = 8, COLUMNS = 64;       // cells of a patch
constexpr int THREADS = ROWS * COLUMNS;     // one for each
constexpr int CHANNELS = THREADS / WARP;    // of a block, a warp for each
constexpr int STRIP = 512;                  // pixels
constexpr int TILE = 10;                    // masks

// The share of this thread's cell, of the patch at `top` and `left`, that a mask covers.
__device__ inline float coverage(const float* mask, int old_height, int old_width, int height,
                                 int width, int top, int left, float (&lines)[ROWS][STRIP]) {
  const int r = threadIdx.x / COLUMNS, c = threadIdx.x % COLUMNS;
  const Triangle rows(min(top + r, height - 1), old_height, height);
  const Triangle columns(min(left + c, width - 1), old_width, width);
  const int begin = Triangle(left, old_width, width).first;
  const int end = Triangle(min(left + COLUMNS, width) - 1, old_width, width).last;
  float sum = 0.0f, weights = 0.0f;
  for (int start = begin; start < end; start += STRIP) {
    const int stop = min(start + STRIP, end);
    for (int x = start + c; x < stop; x += COLUMNS) {
      float line = 0.0f;
#pragma unroll 4
      for (int y = rows.first; y < rows.last; ++y)
        line += (float)rows.weight(y) * mask[(size_t)y * old_width + x];
      lines[r][x - start] = line;
    }
    __syncthreads();
    for (int x = max(columns.first, start); x < min(columns.last, stop); ++x) {
      const float weight = (float)columns.weight(x);
      weights += weight;
      sum += weight * lines[r][x - start];
    }
    __syncthreads();  // the next strip, and the next mask, use the same shared memory
  }
  float heights = 0.0f;
  for (int y = rows.first; y < rows.last; ++y) heights += (float)rows.weight(y);
  return sum / (weights * heights);
}

template <class T>
__device__ void pool(const T* features, const float* masks, int count, int channels, int height,
                     int width, int old_height, int old_width, int area, T* pooled) {
  __shared__ float lines[ROWS][STRIP];
  __shared__ float cells[TILE][THREADS];
  const int lane = threadIdx.x % WARP, channel = blockIdx.x * CHANNELS + threadIdx.x / WARP;
  // A warp beyond the last channel reads that one again and does not write.
  const T* plane = features + (size_t)min(channel, channels - 1) * height * width;

  float sums[TILE] = {}, areas[TILE] = {};
  for (int top = 0; top < height; top += ROWS) {
    for (int left = 0; left < width; left += COLUMNS) {
      for (int t = 0; t < count; ++t) {
        const float* mask = masks + (size_t)t * old_height * old_width;
        // Others may still read the cells of the patch before, but not beyond the barriers in here.
        const float share = coverage(mask, old_height, old_width, height, width, top, left, lines);
        cells[t][threadIdx.x] = share;
      }
      __syncthreads();
#pragma unroll 4
      for (int cell = lane; cell < THREADS; cell += WARP) {
        const int row = top + cell / COLUMNS, column = left + cell % COLUMNS;
        if (row >= height || column >= width) continue;
        const float feature = to_float(plane[(size_t)row * width + column]);
#pragma unroll
        for (int t = 0; t < TILE; ++t) {
          if (t >= count) break;
          areas[t] += cells[t][cell];
          sums[t] += cells[t][cell] * feature;
        }
      }
    }
  }
#pragma unroll
  for (int t = 0; t < TILE; ++t) {
    if (t >= count) break;
    const float total = warp_sum(sums[t]), covered = warp_sum(areas[t]);
    const float divisor = area ? covered + AREA_EPSILON : (float)(height * width);
    if (lane == 0 && channel < channels)
      from_float(total / divisor, pooled[(size_t)t * channels + channel]);
  }
}

template <class T>
__device__ void masked_pool_resized(const T* features, const float* masks, int count, int channels,
                                    int height, int width, int old_height, int old_width, int area,
                                    T* pooled) {
  for (int t = 0; t < count; t += TILE)
    pool(features, masks + (size_t)t * old_height * old_width, min(count - t, TILE), channels,
         height, width, old_height, old_width, area, pooled + (size_t)t * channels);
}

// One block on a multiprocessor is enough, and lets the compiler take the registers it wants.
#define ENTRY(NAME, T)                                                                          \
  extern "C" __global__ void __launch_bounds__(THREADS, 1)                                      \
      NAME(const T* features, const float* masks, int count, int channels, int height,          \
           int width, int old_height, int old_width, int area, T* pooled) {                     \
    masked_pool_resized(features, masks, count, channels, height, width, old_height, old_width, \
                        area, pooled);                                                          \
  }
ENTRY(masked_pool_resized_f32, float)
ENTRY(masked_pool_resized_f16, __half)
ENTRY(masked_pool_resized_bf16, __nv_bfloat16)
