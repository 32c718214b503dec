// Margins of N classes at the photograph's size, bilinear with pixel centres: (N, h, w) ->
//   postprocess         probability float32 (N, H, W), the sigmoid of the enlarged margin
//   postprocess_mask    uint8 (N, H, W), 1 where the enlarged margin is above `threshold`
//   postprocess_labels  uint8 (H, W), 1 + the class of the largest margin where that is above
//                       `threshold`, else 0; of equal ones the first. Up to 255 classes.
//
// Moves  N*h*w margins in, and out 4*N*H*W, N*H*W or H*W bytes, which is the floor: 8 MB, 2 MB and
//        2 MB for one class at 1080p. About 10 operations a pixel and class.
// How    A thread makes four neighbouring pixels and writes them as one where W is a multiple of
//        four. The places in the small map are whole numbers over 2*H and 2*W, hence exact.
#include "common.cuh"

constexpr int THREADS = 128;
constexpr int PIXELS = 4;

// The two old places that a new one lies between, and how far it is towards the second.
struct Between {
  int low, high;
  float share;

  __device__ Between(int index, int old, int now) {
    const int position = max((2 * index + 1) * old - now, 0);
    low = min(position / (2 * now), old - 1);
    high = min(low + 1, old - 1);
    share = (float)(position - low * 2 * now) / (float)(2 * now);
  }
};

template <class T>
__device__ float enlarged(const T* map, int width, const Between& row, const Between& column) {
  const T *upper = map + row.low * width, *lower = map + row.high * width;
  const float left = to_float(upper[column.low]), right = to_float(upper[column.high]);
  const float below_left = to_float(lower[column.low]), below = to_float(lower[column.high]);
  const float top = left + (right - left) * column.share;
  const float bottom = below_left + (below - below_left) * column.share;
  return top + (bottom - top) * row.share;
}

// `pixel(row, column)` for the four pixels of this thread, in row blockIdx.y, written to `line`.
template <class R, class F>
__device__ void write_row(int height, int width, int out_height, int out_width, R* line, F pixel) {
  const int first = (blockIdx.x * THREADS + threadIdx.x) * PIXELS;
  if (first >= out_width) return;
  const Between row(blockIdx.y, height, out_height);
  Pack<R, PIXELS> pack;
#pragma unroll
  for (int i = 0; i < PIXELS; ++i)
    pack.values[i] = pixel(row, Between(min(first + i, out_width - 1), width, out_width));
  if (first + PIXELS <= out_width && aligned(line + first, PIXELS)) {
    *reinterpret_cast<Pack<R, PIXELS>*>(line + first) = pack;
    return;
  }
  for (int i = 0; i < PIXELS && first + i < out_width; ++i) line[first + i] = pack.values[i];
}

template <class T>
__device__ void probabilities(const T* margins, int height, int width, int out_height,
                              int out_width, float* result) {
  const T* map = margins + (size_t)blockIdx.z * height * width;
  float* line = result + ((size_t)blockIdx.z * out_height + blockIdx.y) * out_width;
  write_row(height, width, out_height, out_width, line,
            [&](const Between& row, const Between& column) {
              return sigmoid(enlarged(map, width, row, column));
            });
}

template <class T>
__device__ void mask(const T* margins, int height, int width, int out_height, int out_width,
                     float threshold, unsigned char* result) {
  const T* map = margins + (size_t)blockIdx.z * height * width;
  unsigned char* line = result + ((size_t)blockIdx.z * out_height + blockIdx.y) * out_width;
  write_row(height, width, out_height, out_width, line,
            [&](const Between& row, const Between& column) {
              return (unsigned char)(enlarged(map, width, row, column) > threshold);
            });
}

template <class T>
__device__ void labels(const T* margins, int count, int height, int width, int out_height,
                       int out_width, float threshold, unsigned char* result) {
  write_row(height, width, out_height, out_width, result + (size_t)blockIdx.y * out_width,
            [&](const Between& row, const Between& column) {
              float largest = threshold;
              int label = 0;
              for (int n = 0; n < count; ++n) {
                const float value =
                    enlarged(margins + (size_t)n * height * width, width, row, column);
                if (value > largest) {
                  largest = value;
                  label = n + 1;
                }
              }
              return (unsigned char)label;
            });
}

// `threshold` comes as the bits of a float32.
#define ENTRY(SUFFIX, T)                                                                        \
  extern "C" __global__ void __launch_bounds__(THREADS)                                         \
      postprocess_##SUFFIX(const T* margins, int height, int width, int out_height,             \
                           int out_width, float* probability) {                                 \
    probabilities(margins, height, width, out_height, out_width, probability);                  \
  }                                                                                             \
  extern "C" __global__ void __launch_bounds__(THREADS)                                         \
      postprocess_mask_##SUFFIX(const T* margins, int height, int width, int out_height,        \
                                int out_width, int threshold, unsigned char* masks) {           \
    mask(margins, height, width, out_height, out_width, __int_as_float(threshold), masks);      \
  }                                                                                             \
  extern "C" __global__ void __launch_bounds__(THREADS)                                         \
      postprocess_labels_##SUFFIX(const T* margins, int count, int height, int width,           \
                                  int out_height, int out_width, int threshold,                 \
                                  unsigned char* labels_out) {                                  \
    labels(margins, count, height, width, out_height, out_width, __int_as_float(threshold),     \
           labels_out);                                                                         \
  }
ENTRY(f32, float)
ENTRY(f16, __half)
ENTRY(bf16, __nv_bfloat16)
