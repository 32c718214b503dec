// A photograph as the model takes it: uint8 (H, W, 3) -> (1, 3, S, S), resized as in
// export/resampling.py (bilinear, antialiased, pixel centres) and (x / 255 - mean) / std.
//
// Moves  3*H*W bytes in, 3*S*S values out; each old pixel takes part in up to two new rows and two
//        new columns. The floor is 3*H*W bytes (6 MB at 1080p) over the memory's bandwidth.
// How    A thread block makes COLUMNS pixels of ROWS new rows. Its threads go over the old pixels'
//        bytes, a strip at a time, each down all old rows that one of the new ones needs, whole
//        words where the width allows it and many rows under way at once; a byte is read and
//        made a number once for all ROWS. The weights of the old rows, computed once, wait in
//        shared memory, and the sums go there, those of all ROWS together, so that one access
//        serves as many. Then a thread sums its own columns of the strip for all ROWS: any scale
//        fits.
#include "common.cuh"

constexpr int COLUMNS = 64;
constexpr int ROWS = 4;
constexpr int COLOURS = 3;
constexpr int THREADS = 256;
constexpr int STRIP = 288;  // old pixels
constexpr int LINES = 48;   // old rows whose weights are held
constexpr int FEW = 4, SOME = 8, MANY = 12;  // old rows under way at once
constexpr int WORD = 4;
constexpr int GAP = 8;  // bytes after which one place is left free, so that banks differ
static_assert(LINES % SOME == 0 && LINES % MANY == 0 && LINES * ROWS <= THREADS);

using Sums = Pack<float, ROWS>;  // of a byte, for each new row

__device__ inline int slot(unsigned byte) { return byte + byte / GAP; }

__device__ inline float of_channel(const int3& bits, int channel) {
  return __int_as_float(channel == 0 ? bits.x : channel == 1 ? bits.y : bits.z);
}

// Adds `count` old rows of `bytes` bytes to what the strip holds, or to nothing if they are the
// first. The weights beyond `count` are 0.
template <int N, int UNROLL>
__device__ void sum_rows(const unsigned char* image, int pitch, int count, int bytes, bool first,
                         const Sums (&weights)[LINES], Sums* strip) {
  for (int at = threadIdx.x * N; at < bytes; at += THREADS * N) {
    float sums[N][ROWS] = {};
    for (int y = 0; y < count; y += UNROLL) {
      Pack<unsigned char, N> packs[UNROLL];
#pragma unroll
      for (int u = 0; u < UNROLL; ++u)  // beyond the last row that one again, for nothing
        packs[u] = *reinterpret_cast<const Pack<unsigned char, N>*>(
            image + (min(y + u, count - 1) * pitch + at));
#pragma unroll
      for (int u = 0; u < UNROLL; ++u) {
        const Sums weight = weights[y + u];
#pragma unroll
        for (int i = 0; i < N; ++i) {
          const float value = (float)packs[u].values[i];
#pragma unroll
          for (int r = 0; r < ROWS; ++r) sums[i][r] += weight.values[r] * value;
        }
      }
    }
#pragma unroll
    for (int i = 0; i < N; ++i) {
      Sums& place = strip[slot(at + i)];
      Sums sum = first ? Sums{} : place;
#pragma unroll
      for (int r = 0; r < ROWS; ++r) sum.values[r] += sums[i][r];
      place = sum;
    }
  }
}

template <int N>
__device__ void sum_rows(const unsigned char* image, int pitch, int count, int bytes, bool first,
                         const Sums (&weights)[LINES], Sums* strip) {
  if (count <= FEW)
    sum_rows<N, FEW>(image, pitch, count, bytes, first, weights, strip);
  else if (count <= SOME)
    sum_rows<N, SOME>(image, pitch, count, bytes, first, weights, strip);
  else
    sum_rows<N, MANY>(image, pitch, count, bytes, first, weights, strip);
}

template <class T>
__device__ void preprocess(const unsigned char* image, int height, int width, int size,
                           const int3 mean, const int3 deviation, T* pixels) {
  __shared__ Sums strip[STRIP * COLOURS + STRIP * COLOURS / GAP];
  __shared__ Sums weights[LINES];
  __shared__ float totals[ROWS];  // of the weights of a new row
  const int left = blockIdx.x * COLUMNS, top = blockIdx.y * ROWS;
  const int begin = Triangle(left, width, size).first / WORD * WORD;
  const int end = Triangle(min(left + COLUMNS, size) - 1, width, size).last;
  const int upper = Triangle(top, height, size).first;
  const int lower = Triangle(min(top + ROWS, size) - 1, height, size).last;
  const int pitch = COLOURS * width;
  const bool words = pitch % WORD == 0 && aligned(image, WORD);

  // A thread's pixel, or none: the colours of a pixel are neighbours, as in the strip.
  const int column = left + threadIdx.x / COLOURS, channel = threadIdx.x % COLOURS;
  const bool makes = threadIdx.x < COLUMNS * COLOURS && column < size;
  // The last ones, which have the least to read, sum the weights of a row each.
  const int summed = threadIdx.x - (THREADS - ROWS);
  float total = 0.0f;

  float sums[ROWS] = {}, columns = 0.0f;
  for (int start = begin; start < end; start += STRIP) {
    const int stop = min(start + STRIP, end);
    for (int y = upper; y < lower; y += LINES) {
      const int count = min(lower - y, LINES);
      if (threadIdx.x < LINES * ROWS) {
        const int r = threadIdx.x % ROWS, line = threadIdx.x / ROWS;
        const Triangle triangle(min(top + r, size - 1), height, size);
        weights[line].values[r] = line < count ? (float)triangle.weight(y + line) : 0.0f;
      }
      __syncthreads();
      const unsigned char* corner = image + (size_t)y * pitch + COLOURS * start;
      const int bytes = COLOURS * (stop - start);
      if (words)
        sum_rows<WORD>(corner, pitch, count, bytes, y == upper, weights, strip);
      else
        sum_rows<1>(corner, pitch, count, bytes, y == upper, weights, strip);
      if (start == begin && summed >= 0)
        for (int i = 0; i < count; ++i) total += weights[i].values[summed];
      if (start == begin && summed >= 0) totals[summed] = total;
      __syncthreads();  // the next weights use the same shared memory
    }
    if (makes) {
      const Triangle own(column, width, size);
      const float step = (float)own.step, reach = (float)own.reach;
      const int from = max(own.first, start), to = min(own.last, stop);
      // The distances of the centres are whole numbers that a float holds.
      float distance = (float)(from * own.step + own.step / 2 - own.centre);
      int byte = COLOURS * (from - start) + channel;
#pragma unroll 4
      for (int x = from; x < to; ++x) {
        const float weight = fmaxf(reach - fabsf(distance), 0.0f);
        const Sums sum = strip[slot(byte)];
        columns += weight;
#pragma unroll
        for (int r = 0; r < ROWS; ++r) sums[r] += weight * sum.values[r];
        distance += step;
        byte += COLOURS;
      }
    }
    __syncthreads();  // the next strip uses the same shared memory
  }
  if (!makes) return;
  const float average = of_channel(mean, channel), spread = of_channel(deviation, channel);
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    if (top + r >= size) break;
    const float value = __fdividef(sums[r], columns * totals[r] * 255.0f) - average;
    from_float(__fdividef(value, spread),
               pixels[((size_t)channel * size + top + r) * size + column]);
  }
}

// The numbers of mean and deviation (red, green, blue) come as the bits of float32.
#define ENTRY(NAME, T)                                                                           \
  extern "C" __global__ void __launch_bounds__(THREADS, 4)                                       \
      NAME(const unsigned char* __restrict__ image, int height, int width, int size,             \
           int mean_red, int mean_green, int mean_blue, int deviation_red, int deviation_green,  \
           int deviation_blue, T* __restrict__ pixels) {                                         \
    preprocess(image, height, width, size, make_int3(mean_red, mean_green, mean_blue),           \
               make_int3(deviation_red, deviation_green, deviation_blue), pixels);               \
  }
ENTRY(preprocess_f32, float)
ENTRY(preprocess_f16, __half)
ENTRY(preprocess_bf16, __nv_bfloat16)
