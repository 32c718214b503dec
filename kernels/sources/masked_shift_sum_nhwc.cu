// masked_shift_sum for maps with their channels last, as a matrix product of the features leaves the
// taps and as cuDNN's half-precision convolutions want the result:
//   relu(sum over t of mask(p + t) * taps_t(p + t) + own + border)
// taps (1, h, w, 9*D), masks (T, 1, h, w), own (T, h, w, D), border (T, 9, D) -> (T, h, w, D).
//
// Moves  as masked_shift_sum.cu: 9*D*h*w taps, T*D*h*w own and T*h*w masks in, T*D*h*w out.
// How    A thread keeps the 9 taps of DEPTH channels at one place in registers, each read once as
//        one vector whatever the shift, and goes through the masks, whose nine values are the same
//        for all threads of a place.
#include "common.cuh"

constexpr int THREADS = 128;
constexpr int DEPTH = 8;

// The kind of a place along one side: first (0), inside (1), last (2).
__device__ inline int kind(int position, int length) {
  return position == 0 ? 0 : position == length - 1 ? 2 : 1;
}

// The channels from `channel` to `channel` + N at the place in row y and column x.
template <int N, class T>
__device__ void shift_sum(const T* taps, const float* masks, const T* own, const T* border,
                          int count, int depth, int height, int width, int y, int x, int channel,
                          T* result) {
  const int size = height * width, place = y * width + x;
  // Outside the map the place itself is read, and counts as zero: all loads are under way before
  // the first of them is needed.
  Pack<T, N> packs[9];
  int places[9];
  bool inside[9];
#pragma unroll
  for (int tap = 0; tap < 9; ++tap) {
    const int row = y + tap / 3 - 1, column = x + tap % 3 - 1;
    inside[tap] = row >= 0 && row < height && column >= 0 && column < width;
    places[tap] = inside[tap] ? row * width + column : place;
    packs[tap] = *reinterpret_cast<const Pack<T, N>*>(
        taps + ((size_t)places[tap] * 9 + tap) * depth + channel);
  }
  float products[9][N];
#pragma unroll
  for (int tap = 0; tap < 9; ++tap) {
#pragma unroll
    for (int i = 0; i < N; ++i)
      products[tap][i] = inside[tap] ? to_float(packs[tap].values[i]) : 0.0f;
  }
  const int where = 3 * kind(y, height) + kind(x, width);
#pragma unroll 1
  for (int t = 0; t < count; ++t) {
    const size_t at = ((size_t)t * size + place) * depth + channel;
    float values[N], sums[N], window[9];
    load<N>(own + at, values);
    load<N>(border + ((size_t)t * 9 + where) * depth + channel, sums);
#pragma unroll
    for (int tap = 0; tap < 9; ++tap) {
      const float mask = masks[(size_t)t * size + places[tap]];
      window[tap] = inside[tap] ? mask : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
#pragma unroll
      for (int tap = 0; tap < 9; ++tap) sums[i] += window[tap] * products[tap][i];
      sums[i] += values[i];
      values[i] = sums[i] < 0.0f ? 0.0f : sums[i];  // not fmaxf, which hides what is not a number
    }
    store<N>(values, result + at);
  }
}

template <class T>
__device__ void masked_shift_sum(const T* taps, const float* masks, const T* own, const T* border,
                                 int count, int depth, int height, int width, T* result) {
  const int groups = (depth + DEPTH - 1) / DEPTH;
  const int index = blockIdx.x * THREADS + threadIdx.x;
  const int place = index / groups, first = index % groups * DEPTH;
  if (place >= height * width) return;
  const int y = place / width, x = place % width;
  if (depth % DEPTH == 0 && aligned(taps, DEPTH) && aligned(own, DEPTH) &&
      aligned(border, DEPTH) && aligned(result, DEPTH)) {
    shift_sum<DEPTH>(taps, masks, own, border, count, depth, height, width, y, x, first, result);
    return;
  }
  for (int channel = first; channel < min(first + DEPTH, depth); ++channel)
    shift_sum<1>(taps, masks, own, border, count, depth, height, width, y, x, channel, result);
}

#define ENTRY(NAME, T)                                                                         \
  extern "C" __global__ void __launch_bounds__(THREADS, sizeof(T) == 4 ? 3 : 4)                                     \
      NAME(const T* taps, const float* masks, const T* own, const T* border, int count,        \
           int depth, int height, int width, T* result) {                                      \
    masked_shift_sum(taps, masks, own, border, count, depth, height, width, result);           \
  }
ENTRY(masked_shift_sum_nhwc_f32, float)
ENTRY(masked_shift_sum_nhwc_f16, __half)
ENTRY(masked_shift_sum_nhwc_bf16, __nv_bfloat16)
