// Eq. 8, one forget-and-enhance block over k vectors:
//   x' = x * sigmoid(forget) + tanh(update) * sigmoid(enhance), causal convolutions over the shots.
// vectors (k, C), weights (B, 3*C, C, kernel), biases (B, 3*C) -> (k, C), by block `block` of B.
//
// Moves  3*C*C*kernel weights; 6*k*C*C*kernel operations. At C = 256, kernel 2, float16 0.8 MB a
//        block: the floor is a fraction of a microsecond, so that launches and latencies are what
//        it costs.
// How    One launch for each block of the stack. A block needs all channels of the one before it,
//        and without a cooperative launch or a workspace the multiprocessors cannot wait for each
//        other; one of them alone would do all in one launch, but its share of the second-level
//        cache's bandwidth makes 2.4 MB of weights take more than 20 microseconds.
//        A thread block computes one channel of all shots, each of its three warps one gate. With
//        the kernel of two taps a lane reads the weights of eight channels and the same channels of
//        all vectors, 16 bytes at a time and nothing depending on anything: at 256 channels that is
//        all there is to read. Both taps are summed for every shot, without the shift; one
//        reduction over the warp takes all these sums, and then each shot adds its two taps.
//        Other kernels, odd channels and more than SHOTS shots go one by one, SHOTS at a time.
//        The result must not be the vectors' memory.
#include "common.cuh"

constexpr int GATES = 3;
constexpr int THREADS = GATES * WARP;
constexpr int VECTOR = 8;  // channels of a lane at a time
constexpr int SHOTS = 10;
// Blocks that a multiprocessor holds: there is one for each channel, so that more would not help,
// and the registers of more would not hold the sums of all shots.
constexpr int RESIDENT = 4;

// Row of the weights and number of the bias of a gate's channel.
__device__ inline size_t row_of(int block, int gate, int channels, int channel) {
  return ((size_t)block * GATES + gate) * channels + channel;
}

template <class T>
__device__ void finish(const float (&gates)[GATES], float vector, T& result) {
  const float kept = vector * sigmoid(gates[0]);
  from_float(kept + hyperbolic_tangent(gates[1]) * sigmoid(gates[2]), result);
}

// Two taps and up to COUNT shots. SUMS is the power of two that holds two sums of each shot.
template <int COUNT, int SUMS, class T>
__device__ void two_taps(const T* vectors, const T* weights, const T* biases, int shots,
                         int channels, int dilation, int block, T* result) {
  __shared__ float found[GATES][SUMS];
  const int channel = blockIdx.x, shot = threadIdx.x;
  const int gate = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  const T* row = weights + row_of(block, gate, channels, channel) * channels * 2;
  // What is needed at the end, read before the sums so that nobody waits for it then.
  const float own = to_float(vectors[(size_t)min(shot, shots - 1) * channels + channel]);
  float gates[GATES];
#pragma unroll
  for (int g = 0; g < GATES; ++g) gates[g] = to_float(biases[row_of(block, g, channels, channel)]);

  float sums[SUMS] = {};
  for (int c = lane * VECTOR; c < channels; c += WARP * VECTOR) {
    float weight[2 * VECTOR], x[COUNT][VECTOR];
    load<2 * VECTOR>(row + 2 * c, weight);
#pragma unroll
    for (int j = 0; j < COUNT; ++j)  // beyond the last shot that one again, for nothing
      load<VECTOR>(vectors + (size_t)min(j, shots - 1) * channels + c, x[j]);
#pragma unroll
    for (int j = 0; j < COUNT; ++j) {
#pragma unroll
      for (int i = 0; i < VECTOR; ++i) {
        sums[j] += weight[2 * i] * x[j][i];
        sums[COUNT + j] += weight[2 * i + 1] * x[j][i];
      }
    }
  }
  constexpr int LANES = WARP / SUMS;  // that get the same sum
  const float sum = warp_sums(sums);
  if (lane % LANES == 0) found[gate][lane / LANES] = sum;
  __syncthreads();
  if (shot >= shots) return;
#pragma unroll
  for (int g = 0; g < GATES; ++g) {
    gates[g] += found[g][COUNT + shot];
    if (shot >= dilation) gates[g] += found[g][shot - dilation];
  }
  finish(gates, own, result[(size_t)shot * channels + channel]);
}

template <class T>
__device__ void any_taps(const T* vectors, const T* weights, const T* biases, int shots,
                         int channels, int kernel, int dilation, int block, T* result) {
  __shared__ float found[GATES][SHOTS];
  const int channel = blockIdx.x;
  const int gate = threadIdx.x / WARP, lane = threadIdx.x % WARP;
  const size_t row = row_of(block, gate, channels, channel);
  const T* own = weights + row * channels * kernel;
  const float bias = to_float(biases[row]);
  for (int from = 0; from < shots; from += SHOTS) {
    const int count = min(shots - from, SHOTS);
    float sums[SHOTS] = {};
    for (int c = lane; c < channels; c += WARP) {
      for (int tap = 0; tap < kernel; ++tap) {
        const float weight = to_float(own[(size_t)c * kernel + tap]);
        const int first = from - (kernel - 1 - tap) * dilation;
#pragma unroll
        for (int j = 0; j < SHOTS; ++j) {
          const int shot = first + j;  // before the first there are zeros
          const int inside = min(max(shot, 0), shots - 1);
          const float x = to_float(vectors[(size_t)inside * channels + c]);
          sums[j] += shot < 0 ? 0.0f : weight * x;
        }
      }
    }
#pragma unroll
    for (int j = 0; j < SHOTS; ++j) {
      const float sum = warp_sum(sums[j]);
      if (lane == 0) found[gate][j] = sum + bias;
    }
    __syncthreads();
    if (threadIdx.x < count) {
      const size_t at = (size_t)(from + threadIdx.x) * channels + channel;
      float gates[GATES];
#pragma unroll
      for (int g = 0; g < GATES; ++g) gates[g] = found[g][threadIdx.x];
      finish(gates, to_float(vectors[at]), result[at]);
    }
    __syncthreads();  // the next shots use the same shared memory
  }
}

template <class T>
__device__ void forget_enhance(const T* vectors, const T* weights, const T* biases, int shots,
                               int channels, int kernel, int dilation, int block, T* result) {
  const bool together = channels % VECTOR == 0 && aligned(vectors, VECTOR) &&
                        aligned(weights, VECTOR);
  if (kernel != 2 || shots > SHOTS || !together)
    any_taps(vectors, weights, biases, shots, channels, kernel, dilation, block, result);
  else if (shots == 1)
    two_taps<1, 2>(vectors, weights, biases, shots, channels, dilation, block, result);
  else if (shots <= 5)
    two_taps<5, 16>(vectors, weights, biases, shots, channels, dilation, block, result);
  else
    two_taps<SHOTS, 32>(vectors, weights, biases, shots, channels, dilation, block, result);
}

#define ENTRY(NAME, T)                                                                           \
  extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)                                \
      NAME(const T* __restrict__ vectors, const T* __restrict__ weights,                         \
           const T* __restrict__ biases, int shots, int channels, int kernel, int dilation,      \
           int block, T* __restrict__ result) {                                                  \
    forget_enhance(vectors, weights, biases, shots, channels, kernel, dilation, block, result);  \
  }
ENTRY(forget_enhance_f32, float)
ENTRY(forget_enhance_f16, __half)
ENTRY(forget_enhance_bf16, __nv_bfloat16)
