// The scheduler of the emulated threads; see cuda_emulation.hpp.
//
// Every thread of a block is a fiber of one system thread; they run one after the other in an order
// that a seed shuffles, and change places only at barriers and shuffles. Shared memory is full of
// NaN when a block begins.
#pragma once
#include <link.h>
#include <setjmp.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#if defined(__SANITIZE_THREAD__)
extern "C" {
void* __tsan_create_fiber(unsigned);
void __tsan_destroy_fiber(void*);
void __tsan_switch_to_fiber(void*, unsigned);
void* __tsan_get_current_fiber();
void __tsan_acquire(void*);
void __tsan_release(void*);
}
#define TSAN(call) call
#else
#define TSAN(call)
#endif
#define UNSEEN __attribute__((no_sanitize("thread"), noinline))

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

namespace emulation {

enum class State { running, at_barrier, in_shuffle, done };
constexpr int WARP = 32;
constexpr size_t STACK = 64 * 1024;

// A place to go on from: the scheduler's, or that of a thread of a block.
struct Place {
  ucontext_t begin;
  jmp_buf here;
  bool begun = false;
};
struct Thread {
  Place place;
  dim3 index;
  int number = 0, line = 0;
  State state = State::running;
  unsigned lanes = 0;         // of the shuffle that it waits in
  int barriers = 0, shuffles = 0;
  void* fiber = nullptr;
};
struct Warp {
  uint64_t values[WARP];
  char tokens[2];  // what ThreadSanitizer takes for the lock of a shuffle
};

inline dim3 block_index, block_size, grid_size;
inline Thread* current;
inline std::vector<Thread> threads;
inline std::vector<Warp> warps;
inline std::vector<char> stacks;
inline Place scheduler;
inline void* scheduler_fiber;
inline char barrier_tokens[2], start_token;
inline std::function<void()> body;
inline char error[256];

// Shared variables are thread-local ones: the fibers are one system thread, and all of them lie in
// one piece of memory, which a section of our own would not do for those of templates.
inline thread_local char in_shared_memory;

UNSEEN inline void poison_shared_memory() {
  in_shared_memory = 1;  // until something is used there, it is not there
  const auto poison = [](dl_phdr_info* info, size_t, void* inside) {
    for (int i = 0; i < info->dlpi_phnum; ++i) {
      auto* begin = static_cast<char*>(info->dlpi_tls_data);
      const size_t size = info->dlpi_phdr[i].p_memsz;
      if (info->dlpi_phdr[i].p_type != PT_TLS || !begin) continue;
      if (inside < begin || inside >= begin + size) continue;
      memset(begin, 0xFF, size);
      return 1;
    }
    return 0;
  };
  if (!dl_iterate_phdr(poison, &in_shared_memory)) snprintf(error, sizeof error, "no shared memory");
}

// swapcontext asks the operating system for the signal mask each time, which takes longer than most
// kernels do between two shuffles; _setjmp does not, but ThreadSanitizer follows only the former.
UNSEEN inline void go(Place& from, Place& to) {
#if defined(__SANITIZE_THREAD__)
  swapcontext(&from.begin, &to.begin);
#else
  if (_setjmp(from.here)) return;
  if (std::exchange(to.begun, true)) _longjmp(to.here, 1);
  setcontext(&to.begin);
#endif
}

UNSEEN inline void leave() {
  Thread* self = current;
  TSAN(__tsan_switch_to_fiber(scheduler_fiber, 1);)
  go(self->place, scheduler);
}

UNSEEN inline void fail(const char* what, const Thread& thread) {
  if (!error[0])
    snprintf(error, sizeof error, "%s: block (%u, %u, %u), thread %d, line %d", what, block_index.x,
             block_index.y, block_index.z, thread.number, thread.line);
}

UNSEEN inline void wait(State state, char* token) {
  Thread* self = current;
  self->state = state;
  TSAN(__tsan_release(token);)
  leave();
  TSAN(__tsan_acquire(token);)
  (void)token;
}

UNSEEN inline void barrier(int line) {
  current->line = line;
  wait(State::at_barrier, &barrier_tokens[current->barriers++ & 1]);
}

UNSEEN inline void meet(unsigned lanes, int line) {
  Thread* self = current;
  self->line = line;
  self->lanes = lanes;
  if (!(lanes >> self->number % WARP & 1)) {
    fail("a lane calls a shuffle whose mask leaves it out", *self);
    leave();
  }
  wait(State::in_shuffle, &warps[self->number / WARP].tokens[self->shuffles++ & 1]);
}

template <class T>
UNSEEN T exchange(unsigned lanes, T value, int source, int line) {
  const int warp = current->number / WARP, lane = current->number % WARP;
  memcpy(&warps[warp].values[lane], &value, sizeof value);
  meet(lanes, line);
  T result = value;
  if (source >= 0 && source < WARP) {
    if (lanes >> source & 1) memcpy(&result, &warps[warp].values[source], sizeof result);
    else fail("a shuffle reads a lane that its mask leaves out", *current);
  }
  meet(lanes, line);  // nobody writes the next value before all have read this one
  return result;
}

UNSEEN inline void finish() {
  TSAN(__tsan_release(&barrier_tokens[0]);)
  current->state = State::done;
}

// The same thread of one block after the other.
inline void run_thread() {
  for (;;) {
    TSAN(__tsan_acquire(&start_token);)
    body();
    finish();
    leave();
  }
}

// Lets the warps go on whose lanes have all reached one shuffle. Whether any could.
UNSEEN inline bool release_warps() {
  bool any = false;
  for (Thread& thread : threads) {
    if (thread.state != State::in_shuffle) continue;
    const int first = thread.number / WARP * WARP;
    const int last = std::min<int>(first + WARP, threads.size());
    bool all = true;
    for (int n = first; n < last; ++n) {
      const Thread& other = threads[n];
      if (!(thread.lanes >> (n - first) & 1)) continue;
      if (other.state == State::done) fail("a lane in a shuffle's mask has returned", thread);
      all &= other.state == State::in_shuffle && other.lanes == thread.lanes &&
             other.line == thread.line;
    }
    if (!all) continue;
    for (int n = first; n < last; ++n)
      if (thread.lanes >> (n - first) & 1) threads[n].state = State::running;
    any = true;
  }
  return any;
}

// Lets all threads go on once they have reached the same barrier. Whether they have.
UNSEEN inline bool release_block() {
  for (Thread& thread : threads) {
    if (thread.state != State::at_barrier) return false;
    if (thread.line != threads[0].line) {
      fail("the threads of a block wait at different barriers", thread);
      return false;
    }
  }
  for (Thread& thread : threads) thread.state = State::running;
  return true;
}

UNSEEN inline void make_threads() {
  const int count = block_size.x * block_size.y * block_size.z;
  threads.assign(count, {});
  warps.assign((count + WARP - 1) / WARP, {});
  stacks.resize(STACK * count);
  scheduler.begun = true;
  TSAN(scheduler_fiber = __tsan_get_current_fiber();)
  for (int n = 0; n < count; ++n) {
    Thread& thread = threads[n];
    thread.number = n;
    thread.index = {n % block_size.x, n / block_size.x % block_size.y,
                    n / (block_size.x * block_size.y)};
    getcontext(&thread.place.begin);
    thread.place.begin.uc_stack.ss_sp = &stacks[STACK * n];
    thread.place.begin.uc_stack.ss_size = STACK;
    makecontext(&thread.place.begin, run_thread, 0);
    TSAN(thread.fiber = __tsan_create_fiber(0);)
  }
}

UNSEEN inline void run_block(unsigned seed) {
  poison_shared_memory();
  for (Thread& thread : threads) thread.state = State::running;
  std::minstd_rand random(seed + 1);
  std::vector<int> order(threads.size());
  std::iota(order.begin(), order.end(), 0);
  for (bool moved = true; !error[0]; moved = false) {
    if (seed) std::shuffle(order.begin(), order.end(), random);
    for (int n : order) {
      if (threads[n].state != State::running) continue;
      current = &threads[n];
      TSAN(__tsan_release(&start_token);)
      TSAN(__tsan_switch_to_fiber(current->fiber, 1);)
      go(scheduler, current->place);
      moved = true;
      if (error[0]) break;
    }
    const auto waits = [](const Thread& thread) { return thread.state != State::done; };
    const auto waiting = std::find_if(threads.begin(), threads.end(), waits);
    if (waiting == threads.end()) break;
    moved |= release_warps();
    moved |= release_block();
    if (!moved) fail("a barrier or shuffle that not all threads reach", *waiting);
  }
  TSAN(__tsan_acquire(&barrier_tokens[0]);)
}

}  // namespace emulation
