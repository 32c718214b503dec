// The first convolution of MPM2 for T masks over one query, see export/operators.py:
//   relu(sum over t of mask(p + t) * taps_t(p + t) + own + border)
// taps (1, 9*D, h, w), masks (T, 1, h, w), own (T, D, h, w), border (T, 9, D) -> (T, D, h, w).
//
// Moves  9*D*h*w taps, T*D*h*w own and T*h*w masks in, T*D*h*w out; 18*T*D*h*w operations. At
//        D = 256, 60 x 60, T = 5, float16 35 MB; the floor is that over the memory's bandwidth.
// How    A thread keeps the 9 taps of DEPTH channels at N neighbouring places in registers, so
//        that every tap is read once whatever T is, and goes through the masks: nine values of a
//        mask, which come from the cache, serve DEPTH channels. With an even width, own, result
//        and the taps of the middle column are read and written two places at a time.
#include "common.cuh"

constexpr int THREADS = 128;
constexpr int DEPTH = 4;

// The kind of a place along one side: first (0), inside (1), last (2).
__device__ inline int kind(int position, int length) {
  return position == 0 ? 0 : position == length - 1 ? 2 : 1;
}

template <int N, class T>
__device__ void shift_sum(const T* taps, const float* masks, const T* own, const T* border,
                          int count, int depth, int height, int width, T* result) {
  const int size = height * width;
  const int place = (blockIdx.x * THREADS + threadIdx.x) * N;
  const int first = blockIdx.y * DEPTH;
  if (place >= size) return;
  const bool together = aligned(taps, N) && aligned(own, N) && aligned(result, N);
  const int y = place / width, x = place % width;

  float products[DEPTH][9][N];
#pragma unroll
  for (int tap = 0; tap < 9; ++tap) {
    const int row = y + tap / 3 - 1, shift = tap % 3 - 1;
#pragma unroll
    for (int d = 0; d < DEPTH; ++d) {
      // Channels beyond the last read that one again and do not write.
      const int channel = min(first + d, depth - 1);
      const T* plane = taps + ((size_t)tap * depth + channel) * size;
      if (together && shift == 0 && row >= 0 && row < height) {
        load<N>(plane + row * width + x, products[d][tap]);
        continue;
      }
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const int column = x + i + shift;
        const bool inside = row >= 0 && row < height && column >= 0 && column < width;
        products[d][tap][i] = inside ? to_float(plane[row * width + column]) : 0.0f;
      }
    }
  }

  for (int t = 0; t < count; ++t) {
    float window[3][N + 2];
#pragma unroll
    for (int r = 0; r < 3; ++r) {
#pragma unroll
      for (int c = 0; c < N + 2; ++c) {
        const int row = y + r - 1, column = x + c - 1;
        const bool inside = row >= 0 && row < height && column >= 0 && column < width;
        window[r][c] = inside ? masks[(size_t)t * size + row * width + column] : 0.0f;
      }
    }
#pragma unroll
    for (int d = 0; d < DEPTH; ++d) {
      if (first + d >= depth) break;
      const size_t at = ((size_t)t * depth + first + d) * size + place;
      float values[N];
      if (together)
        load<N>(own + at, values);
      else
        for (int i = 0; i < N; ++i) values[i] = to_float(own[at + i]);
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const int where = 3 * kind(y, height) + kind(x + i, width);
        float sum = to_float(border[((size_t)t * 9 + where) * depth + first + d]);
#pragma unroll
        for (int tap = 0; tap < 9; ++tap)
          sum += window[tap / 3][i + tap % 3] * products[d][tap][i];
        sum += values[i];
        values[i] = sum < 0.0f ? 0.0f : sum;  // not fmaxf, which hides what is not a number
      }
      if (together)
        store<N>(values, result + at);
      else
        for (int i = 0; i < N; ++i) from_float(values[i], result[at + i]);
    }
  }
}

template <class T>
__device__ void masked_shift_sum(const T* taps, const float* masks, const T* own, const T* border,
                                 int count, int depth, int height, int width, T* result) {
  // The launch counts on two places of a thread where the width is even.
  if (width % 2 == 0)
    shift_sum<2>(taps, masks, own, border, count, depth, height, width, result);
  else
    shift_sum<1>(taps, masks, own, border, count, depth, height, width, result);
}

#define ENTRY(NAME, T)                                                                         \
  extern "C" __global__ void __launch_bounds__(THREADS)                                        \
      NAME(const T* taps, const float* masks, const T* own, const T* border, int count,        \
           int depth, int height, int width, T* result) {                                      \
    masked_shift_sum(taps, masks, own, border, count, depth, height, width, result);           \
  }
ENTRY(masked_shift_sum_f32, float)
ENTRY(masked_shift_sum_f16, __half)
ENTRY(masked_shift_sum_bf16, __nv_bfloat16)
