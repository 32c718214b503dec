// A photograph as the model takes it: uint8 (H, W, 3) -> (1, 3, S, S), resized as in
// export/resampling.py (bilinear, antialiased, pixel centres) and (x / 255 - mean) / std.
//
// Moves  3*H*W bytes in, 3*S*S values out; each old pixel takes part in up to two new rows and two
//        new columns. The floor is 3*H*W bytes (6 MB at 1080p) over the memory's bandwidth.
// How    A thread block makes COLUMNS pixels of one new row. It sums the old rows under the
//        triangle into shared memory, a strip of old pixels at a time, whole words where the
//        width allows it, then the strip's columns into registers: any scale fits.
#include "common.cuh"

constexpr int COLUMNS = 64;
constexpr int THREADS = 3 * COLUMNS;
constexpr int STRIP = 512;  // old pixels
constexpr int WORD = 4;

__device__ inline float of_channel(const int3& bits, int channel) {
  return __int_as_float(channel == 0 ? bits.x : channel == 1 ? bits.y : bits.z);
}

template <int N>
__device__ void sum_rows(const unsigned char* image, const Triangle& rows, int pitch, int start,
                         int bytes, float* strip) {
  for (int at = threadIdx.x * N; at < bytes; at += THREADS * N) {
    float sums[N] = {};
    for (int y = rows.first; y < rows.last; ++y) {
      const float weight = (float)rows.weight(y);
      const auto pack = *reinterpret_cast<const Pack<unsigned char, N>*>(
          image + (size_t)y * pitch + start + at);
#pragma unroll
      for (int i = 0; i < N; ++i) sums[i] += weight * (float)pack.values[i];
    }
#pragma unroll
    for (int i = 0; i < N; ++i) strip[at + i] = sums[i];
  }
}

template <class T>
__device__ void preprocess(const unsigned char* image, int height, int width, int size,
                           const int3 mean, const int3 deviation, T* pixels) {
  __shared__ __align__(16) float strip[STRIP * 3];
  const int channel = threadIdx.x / COLUMNS;
  const int column = blockIdx.x * COLUMNS + threadIdx.x % COLUMNS, row = blockIdx.y;
  const Triangle rows(row, height, size), own(min(column, size - 1), width, size);
  const int begin = Triangle(blockIdx.x * COLUMNS, width, size).first / WORD * WORD;
  const int end = Triangle(min((blockIdx.x + 1) * COLUMNS, (unsigned)size) - 1, width, size).last;
  const int pitch = 3 * width;
  const bool words = pitch % WORD == 0 && aligned(image, WORD);

  float sum = 0.0f, weights = 0.0f;
  for (int start = begin; start < end; start += STRIP) {
    const int stop = min(start + STRIP, end);
    const int bytes = 3 * (stop - start);
    const int whole = words ? bytes / WORD * WORD : 0;
    sum_rows<WORD>(image, rows, pitch, 3 * start, whole, strip);
    sum_rows<1>(image, rows, pitch, 3 * start + whole, bytes - whole, strip + whole);
    __syncthreads();
    for (int x = max(own.first, start); x < min(own.last, stop); ++x) {
      const float weight = (float)own.weight(x);
      weights += weight;
      sum += weight * strip[3 * (x - start) + channel];
    }
    __syncthreads();  // the next strip uses the same shared memory
  }
  if (column >= size) return;
  float lines = 0.0f;
  for (int y = rows.first; y < rows.last; ++y) lines += (float)rows.weight(y);
  const float value = __fdividef(sum, weights * lines * 255.0f) - of_channel(mean, channel);
  from_float(__fdividef(value, of_channel(deviation, channel)),
             pixels[((size_t)channel * size + row) * size + column]);
}

// The numbers of mean and deviation (red, green, blue) come as the bits of float32. Six blocks on
// a multiprocessor: aiming at eight, the compiler runs out of registers.
#define ENTRY(NAME, T)                                                                           \
  extern "C" __global__ void __launch_bounds__(THREADS, 6)                                       \
      NAME(const unsigned char* image, int height, int width, int size, int mean_red,            \
           int mean_green, int mean_blue, int deviation_red, int deviation_green,                \
           int deviation_blue, T* pixels) {                                                      \
    preprocess(image, height, width, size, make_int3(mean_red, mean_green, mean_blue),           \
               make_int3(deviation_red, deviation_green, deviation_blue), pixels);               \
  }
ENTRY(preprocess_f32, float)
ENTRY(preprocess_f16, __half)
ENTRY(preprocess_bf16, __nv_bfloat16)
