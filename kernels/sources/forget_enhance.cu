// Eq. 8, one forget-and-enhance block over k vectors:
//   x' = x * sigmoid(forget) + tanh(update) * sigmoid(enhance), causal convolutions over the shots.
// vectors (k, C), weights (B, 3*C, C, kernel), biases (B, 3*C) -> (k, C), by block `block` of B.
//
// Moves  3*C*C*kernel weights; 6*k*C*C*kernel operations. At C = 256, kernel 2, float16 0.8 MB a
//        block: the floor is a fraction of a microsecond, so that the launches are what it costs.
// How    One launch for each block of the stack. A block needs all channels of the one before it,
//        and without a cooperative launch or a workspace the multiprocessors cannot wait for each
//        other; one of them alone would do all in one launch, but its share of the second-level
//        cache's bandwidth makes 2.4 MB of weights take more than 20 microseconds.
//        A thread block computes one channel of all shots, each of its three warps one gate; a
//        weight is read once for up to SHOTS shots. The result must not be the vectors' memory.
#include "common.cuh"

constexpr int GATES = 3;
constexpr int THREADS = GATES * WARP;
constexpr int SHOTS = 10;
// Blocks that a multiprocessor holds: there is one for each channel, so that more would not help,
// and the registers of more would not hold the sums of all shots.
constexpr int RESIDENT = 4;

template <int KERNEL, class T>
__device__ void convolve(const T* vectors, const T* weights, int from, int count, int channels,
                         int kernel, int dilation, float (&sums)[SHOTS]) {
  const int taps = KERNEL ? KERNEL : kernel;
  const int lane = threadIdx.x % WARP;
  for (int c = lane; c < channels; c += WARP) {
#pragma unroll KERNEL ? KERNEL : 1
    for (int tap = 0; tap < taps; ++tap) {
      const float weight = to_float(weights[(size_t)c * taps + tap]);
      const int back = (taps - 1 - tap) * dilation;
#pragma unroll
      for (int j = 0; j < SHOTS; ++j) {
        const int shot = from + j - back;  // before the first shot there are zeros
        if (j < count && shot >= 0)
          sums[j] += weight * to_float(vectors[(size_t)shot * channels + c]);
      }
    }
  }
}

template <class T>
__device__ void forget_enhance(const T* vectors, const T* weights, const T* biases, int shots,
                               int channels, int kernel, int dilation, int block, T* result) {
  __shared__ float gates[GATES][SHOTS];
  const int channel = blockIdx.x;
  const int gate = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  const size_t row = ((size_t)block * GATES + gate) * channels + channel;
  const T* own = weights + row * channels * kernel;
  const float bias = to_float(biases[row]);
  for (int from = 0; from < shots; from += SHOTS) {
    const int count = min(shots - from, SHOTS);
    float sums[SHOTS] = {};
    if (kernel == 2)
      convolve<2>(vectors, own, from, count, channels, kernel, dilation, sums);
    else
      convolve<0>(vectors, own, from, count, channels, kernel, dilation, sums);
#pragma unroll
    for (int j = 0; j < SHOTS; ++j) {
      if (j >= count) break;
      const float sum = warp_sum(sums[j]);
      if (lane == 0) gates[gate][j] = sum + bias;
    }
    __syncthreads();
    if (threadIdx.x < count) {
      const size_t at = (size_t)(from + threadIdx.x) * channels + channel;
      const float forget = gates[0][threadIdx.x], update = gates[1][threadIdx.x];
      const float kept = to_float(vectors[at]) * sigmoid(forget);
      from_float(kept + tanhf(update) * sigmoid(gates[2][threadIdx.x]), result[at]);
    }
    __syncthreads();  // the next shots use the same shared memory
  }
}

#define ENTRY(NAME, T)                                                                           \
  extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)                                \
      NAME(const T* vectors, const T* weights, const T* biases, int shots, int channels,         \
           int kernel, int dilation, int block, T* result) {                                     \
    forget_enhance(vectors, weights, biases, shots, channels, kernel, dilation, block, result);  \
  }
ENTRY(forget_enhance_f32, float)
ENTRY(forget_enhance_f16, __half)
ENTRY(forget_enhance_bf16, __nv_bfloat16)
