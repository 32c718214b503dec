// Margins of N classes at the photograph's size, bilinear with pixel centres: (N, h, w) ->
//   postprocess         probability float32 (N, H, W), the sigmoid of the enlarged margin
//   postprocess_mask    uint8 (N, H, W), 1 where the enlarged margin is above `threshold`
//   postprocess_labels  uint8 (H, W), 1 + the class of the largest margin where that is above
//                       `threshold`, else 0; of equal ones the first. Up to 255 classes.
//
// Moves  N*h*w margins in, and out 4*N*H*W, N*H*W or H*W bytes, which is the floor: 8 MB, 2 MB and
//        2 MB for one class at 1080p. About 10 operations a pixel and class.
// How    A thread makes PIXELS neighbouring pixels of ROWS rows and writes those of a row as one
//        where W is a multiple of four. Where its columns lie in the small map is worked out once;
//        the rows, which are those of the whole block, mostly lie between the same two of the map,
//        and what was read and interpolated along these is kept from one row to the next. The
//        places in the small map are whole numbers over 2*H and 2*W, so that it is exact which of
//        its pixels a place lies between.
#include "common.cuh"

constexpr int THREADS = 128;
constexpr int PIXELS = 4;
constexpr int ROWS = 4;

// The two old places that a new one lies between, and how far it is towards the second.
struct Between {
  int low, high;
  float share;

  __device__ Between(int index, int old, int now) {
    const int step = 2 * now;
    const float inverse = __fdividef(1.0f, (float)step);
    const int position = max((2 * index + 1) * old - now, 0);
    low = min(quotient(position, step, inverse), old - 1);
    high = min(low + 1, old - 1);
    share = (float)(position - low * step) * inverse;
  }
};

// What the kernels have in common: the pixels of this thread in ROWS rows from `top` on.
struct Pixels {
  int height, width, out_height, out_width, top, left;
  int low[PIXELS], high[PIXELS];
  float share[PIXELS];

  __device__ Pixels(int height, int width, int out_height, int out_width)
      : height(height), width(width), out_height(out_height), out_width(out_width),
        top(blockIdx.y * ROWS), left((blockIdx.x * THREADS + threadIdx.x) * PIXELS) {
#pragma unroll
    for (int i = 0; i < PIXELS; ++i) {
      const Between column(min(left + i, out_width - 1), width, out_width);
      low[i] = column.low;
      high[i] = column.high;
      share[i] = column.share;
    }
  }

  // One row of the small map at the places of the pixels.
  template <class T>
  __device__ void interpolate(const T* line, float (&values)[PIXELS]) const {
#pragma unroll
    for (int i = 0; i < PIXELS; ++i) {
      const float from = to_float(line[low[i]]), to = to_float(line[high[i]]);
      values[i] = from + (to - from) * share[i];
    }
  }

  // Calls `use(r, values)` with the enlarged values of each row `top + r`.
  template <class T, class F>
  __device__ void enlarge(const T* map, F use) const {
    Between row(top, height, out_height);
    int above = row.low, below = row.high;
    float upper[PIXELS], lower[PIXELS];  // those two rows of the map
    interpolate(map + above * width, upper);
    interpolate(map + below * width, lower);
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      if (r > 0) {
        row = Between(min(top + r, out_height - 1), height, out_height);
        if (row.low == below) {
#pragma unroll
          for (int i = 0; i < PIXELS; ++i) upper[i] = lower[i];
        } else if (row.low != above) {
          interpolate(map + row.low * width, upper);
        }
        if (row.high != below) interpolate(map + row.high * width, lower);
        above = row.low;
        below = row.high;
      }
      float values[PIXELS];
#pragma unroll
      for (int i = 0; i < PIXELS; ++i) values[i] = upper[i] + (lower[i] - upper[i]) * row.share;
      use(r, values);
    }
  }

  template <class R>
  __device__ void write(int r, const Pack<R, PIXELS>& pack, R* image) const {
    if (top + r >= out_height) return;
    R* line = image + (size_t)(top + r) * out_width + left;
    if (left + PIXELS <= out_width && aligned(line, PIXELS)) {
      *reinterpret_cast<Pack<R, PIXELS>*>(line) = pack;
      return;
    }
    for (int i = 0; i < PIXELS && left + i < out_width; ++i) line[i] = pack.values[i];
  }
};

// `pixel(value)` for every pixel of the class blockIdx.z.
template <class R, class T, class F>
__device__ void each(const T* margins, int height, int width, int out_height, int out_width,
                     R* result, F pixel) {
  const Pixels pixels(height, width, out_height, out_width);
  if (pixels.left >= out_width) return;
  R* image = result + (size_t)blockIdx.z * out_height * out_width;
  pixels.enlarge(margins + (size_t)blockIdx.z * height * width,
                 [&](int r, const float (&values)[PIXELS]) {
                   Pack<R, PIXELS> pack;
#pragma unroll
                   for (int i = 0; i < PIXELS; ++i) pack.values[i] = pixel(values[i]);
                   pixels.write(r, pack, image);
                 });
}

template <class T>
__device__ void labels(const T* margins, int count, int height, int width, int out_height,
                       int out_width, float threshold, unsigned char* result) {
  const Pixels pixels(height, width, out_height, out_width);
  if (pixels.left >= out_width) return;
  float largest[ROWS][PIXELS];
  Pack<unsigned char, PIXELS> found[ROWS] = {};
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
#pragma unroll
    for (int i = 0; i < PIXELS; ++i) largest[r][i] = threshold;
  }
#pragma unroll 1
  for (int n = 0; n < count; ++n) {
    pixels.enlarge(margins + (size_t)n * height * width,
                   [&](int r, const float (&values)[PIXELS]) {
#pragma unroll
                     for (int i = 0; i < PIXELS; ++i) {
                       if (values[i] > largest[r][i]) {
                         largest[r][i] = values[i];
                         found[r].values[i] = (unsigned char)(n + 1);
                       }
                     }
                   });
  }
#pragma unroll
  for (int r = 0; r < ROWS; ++r) pixels.write(r, found[r], result);
}

// `threshold` comes as the bits of a float32.
#define ENTRY(SUFFIX, T)                                                                        \
  extern "C" __global__ void __launch_bounds__(THREADS, 8)                                      \
      postprocess_##SUFFIX(const T* __restrict__ margins, int height, int width,                \
                           int out_height, int out_width, float* __restrict__ probability) {    \
    each(margins, height, width, out_height, out_width, probability,                            \
         [](float value) { return sigmoid(value); });                                           \
  }                                                                                             \
  extern "C" __global__ void __launch_bounds__(THREADS, 8)                                      \
      postprocess_mask_##SUFFIX(const T* __restrict__ margins, int height, int width,           \
                                int out_height, int out_width, int threshold,                   \
                                unsigned char* __restrict__ masks) {                            \
    each(margins, height, width, out_height, out_width, masks, [=](float value) {               \
      return (unsigned char)(value > __int_as_float(threshold));                                \
    });                                                                                         \
  }                                                                                             \
  extern "C" __global__ void __launch_bounds__(THREADS, 5)                                      \
      postprocess_labels_##SUFFIX(const T* __restrict__ margins, int count, int height,         \
                                  int width, int out_height, int out_width, int threshold,      \
                                  unsigned char* __restrict__ labels_out) {                     \
    labels(margins, count, height, width, out_height, out_width, __int_as_float(threshold),     \
           labels_out);                                                                         \
  }
ENTRY(f32, float)
ENTRY(f16, __half)
ENTRY(bf16, __nv_bfloat16)
