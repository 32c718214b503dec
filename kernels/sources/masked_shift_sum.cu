// The first convolution of MPM2 for T masks over one query, see export/operators.py:
//   relu(sum over t of mask(p + t) * taps_t(p + t) + own + border)
// taps (1, 9*D, h, w), masks (T, 1, h, w), own (T, D, h, w), border (T, 9, D) -> (T, D, h, w).
//
// Moves  9*D*h*w taps, T*D*h*w own and T*h*w masks in, T*D*h*w out; 18*T*D*h*w operations. At
//        D = 256, 60 x 60, T = 5, float16 35 MB; the floor is that over the memory's bandwidth.
// How    A thread keeps the 9 taps of DEPTH channels at N neighbouring places in registers, so
//        that every tap is read once whatever T is, and goes through the masks: the values of a
//        mask around its places, which come from the cache, serve DEPTH channels. Where the width
//        is a multiple of four N is four, where it is even two, and N values are read or written
//        at a time: a tap of a side column is the N values above its places, of which it drops one,
//        and the one beside them. No read depends on another or on a branch, so that all taps are
//        under way together, and what the next mask needs is read before the sums of this one.
#include "common.cuh"

constexpr int THREADS = 128;
constexpr int DEPTH = 2;

// N neighbouring places of a row of a map, and one to the left and to the right.
template <int N, class T>
struct Neighbours {
  Pack<T, N> own;
  T left, right;
};

// Where a thread's places are, and what of their surroundings lies in the map.
template <int N>
struct Place {
  int first, y, x;
  bool rows[3];       // the rows above, of and below it
  bool left, right;  // the columns beside

  __device__ Place(int place, int height, int width)
      : first(place), y(place / width), x(place - y * width), rows{y > 0, true, y + 1 < height},
        left(x > 0), right(x + N < width) {}

  // A row of a map, at the first place: 0 where it lies outside.
  template <class T>
  __device__ Neighbours<N, T> read(const T* map, int width, int row) const {
    const T* from = map + (first + (row - 1) * width);
    Neighbours<N, T> result = {};
    if (rows[row]) result.own = *reinterpret_cast<const Pack<T, N>*>(from);
    if (rows[row] && left) result.left = from[-1];
    if (rows[row] && right) result.right = from[N];
    return result;
  }
};

template <int N, class T>
__device__ inline void numbers(const Neighbours<N, T>& read, float (&values)[N + 2]) {
  values[0] = to_float(read.left);
  values[N + 1] = to_float(read.right);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i + 1] = to_float(read.own.values[i]);
}

// What a mask needs besides the taps.
template <int N, class T>
struct Inputs {
  Neighbours<N, float> mask[3];
  Pack<T, N> own[DEPTH];
  T border[DEPTH][3];  // of the first place, those between and the last
};

template <int N, class T>
__device__ void shift_sum(const T* taps, const float* masks, const T* own, const T* border,
                          int count, int depth, int height, int width, int first_place, T* result) {
  const int size = height * width;
  if (first_place >= size) return;
  const Place<N> place(first_place, height, width);
  int channels[DEPTH];  // beyond the last that one again, which is not written
#pragma unroll
  for (int d = 0; d < DEPTH; ++d) channels[d] = min((int)blockIdx.y * DEPTH + d, depth - 1);

  // The kinds of the places, as the border is numbered: first (0), inside (1) or last (2) of the
  // rows and of the columns.
  const int row_kind = 3 * (place.y == 0 ? 0 : place.y == height - 1 ? 2 : 1);
  const int kinds[3] = {row_kind + (place.x == 0 ? 0 : N == 1 && !place.right ? 2 : 1),
                        row_kind + 1, row_kind + (place.right ? 1 : 2)};
  const auto inputs_of = [&](int t) {
    Inputs<N, T> inputs;
#pragma unroll
    for (int r = 0; r < 3; ++r)
      inputs.mask[r] = place.read(masks + (size_t)t * size, width, r);
#pragma unroll
    for (int d = 0; d < DEPTH; ++d) {
      const size_t plane = (size_t)t * depth + channels[d];
      inputs.own[d] = *reinterpret_cast<const Pack<T, N>*>(own + plane * size + place.first);
#pragma unroll
      for (int k = 0; k < 3; ++k)
        inputs.border[d][k] = border[((size_t)t * 9 + kinds[k]) * depth + channels[d]];
    }
    return inputs;
  };

  Inputs<N, T> next = inputs_of(0);
  float products[DEPTH][9][N];
#pragma unroll
  for (int d = 0; d < DEPTH; ++d) {
#pragma unroll
    for (int tap = 0; tap < 9; ++tap) {
      const T* plane = taps + ((size_t)tap * depth + channels[d]) * size;
      float values[N + 2];
      numbers(place.read(plane, width, tap / 3), values);
#pragma unroll
      for (int i = 0; i < N; ++i) products[d][tap][i] = values[i + tap % 3];
    }
  }

  for (int t = 0; t < count; ++t) {
    const Inputs<N, T> now = next;
    if (t + 1 < count) next = inputs_of(t + 1);
    float window[3][N + 2];
#pragma unroll
    for (int r = 0; r < 3; ++r) numbers(now.mask[r], window[r]);
#pragma unroll
    for (int d = 0; d < DEPTH; ++d) {
      Pack<T, N> sums;
#pragma unroll
      for (int i = 0; i < N; ++i) {
        float sum = to_float(now.border[d][i == 0 ? 0 : i == N - 1 ? 2 : 1]);
#pragma unroll
        for (int tap = 0; tap < 9; ++tap)
          sum += window[tap / 3][i + tap % 3] * products[d][tap][i];
        sum += to_float(now.own[d].values[i]);
        // Not fmaxf, which hides what is not a number.
        from_float(sum < 0.0f ? 0.0f : sum, sums.values[i]);
      }
      if (d > 0 && channels[d] == channels[d - 1]) break;
      *reinterpret_cast<Pack<T, N>*>(
          result + ((size_t)t * depth + channels[d]) * size + place.first) = sums;
    }
  }
}

// N places of each thread, which is what the launch counts on for the width.
template <int N, class T>
__device__ void masked_shift_sum(const T* taps, const float* masks, const T* own, const T* border,
                                 int count, int depth, int height, int width, T* result) {
  const int place = (blockIdx.x * THREADS + threadIdx.x) * N;
  if (aligned(taps, N) && aligned(masks, N) && aligned(own, N) && aligned(result, N)) {
    shift_sum<N>(taps, masks, own, border, count, depth, height, width, place, result);
    return;
  }
  for (int i = 0; i < N; ++i)
    shift_sum<1>(taps, masks, own, border, count, depth, height, width, place + i, result);
}

#define ENTRY(NAME, T)                                                                         \
  extern "C" __global__ void __launch_bounds__(THREADS, 3)                                     \
      NAME(const T* __restrict__ taps, const float* __restrict__ masks,                        \
           const T* __restrict__ own, const T* __restrict__ border, int count, int depth,      \
           int height, int width, T* __restrict__ result) {                                    \
    if (width % 4 == 0)                                                                        \
      masked_shift_sum<4>(taps, masks, own, border, count, depth, height, width, result);      \
    else if (width % 2 == 0)                                                                   \
      masked_shift_sum<2>(taps, masks, own, border, count, depth, height, width, result);      \
    else                                                                                       \
      masked_shift_sum<1>(taps, masks, own, border, count, depth, height, width, result);      \
  }
ENTRY(masked_shift_sum_f32, float)
ENTRY(masked_shift_sum_f16, __half)
ENTRY(masked_shift_sum_bf16, __nv_bfloat16)
