// Streams, events, memory and copies of the emulated driver. With $ARNET_EMULATED_LATE nothing that is
// put into a stream happens before somebody waits for it: what forgets to wait reads old numbers, and
// what writes to memory that is still in use spoils them. Otherwise everything happens at once.
// What a program calls is written down and can be read with arnet_log().
#pragma once
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
enum {
  SUCCESS = 0, INVALID_VALUE = 1, INVALID_IMAGE = 200, INVALID_HANDLE = 400, NOT_FOUND = 500,
  NOT_READY = 600, FAILED = 719, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901
};

typedef struct Stream Stream;
typedef struct {  // what was recorded, by numbers that rise
  unsigned long wanted, done;
  Stream* stream;
} Event;

typedef struct Work Work;
struct Work {  // run() does it; number and event are those of a record or a wait
  Result (*run)(Work*);
  void *target, *source;
  size_t bytes;
  Event* event;
  unsigned long number;
  unsigned grid[3], block[3];
  uint64_t values[64];
  unsigned count;
  Work* next;
};
typedef struct {
  Work *first, *last;
  int valid;
} List;
struct Stream {
  List waiting;
  List* capture;
  Stream* next;
};

static Stream legacy, *streams;
static __thread int capturing;  // thread-local capture: other threads are free
static __thread int spoiled;    // by what a capture forbids
// One for the lists and the log, held for moments; one for the thread that does the work, which may
// call into Python.
static pthread_mutex_t lists = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t work_lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static char* written;
static size_t written_bytes;

const char* arnet_log(void) { return written ? written : ""; }
void arnet_log_clear(void) { written_bytes = 0; if (written) *written = 0; }
static void note(const char* text) {
  const size_t length = strlen(text);
  pthread_mutex_lock(&lists);
  written = realloc(written, written_bytes + length + 2);
  memcpy(written + written_bytes, text, length);
  memcpy(written + written_bytes + length, "\n", 2);
  written_bytes += length + 1;
  pthread_mutex_unlock(&lists);
}

static Stream* of(void* handle) { return (uintptr_t)handle < 16 ? &legacy : handle; }
static int late(void) { return getenv("ARNET_EMULATED_LATE") != NULL; }

static void append(List* list, const Work* work) {
  Work* copy = malloc(sizeof *copy);
  *copy = *work;
  copy->next = NULL;
  pthread_mutex_lock(&lists);
  if (list->last) list->last->next = copy; else list->first = copy;
  list->last = copy;
  pthread_mutex_unlock(&lists);
}
static Work* taken(List* list) {
  pthread_mutex_lock(&lists);
  Work* work = list->first;
  if (work) list->first = work->next;
  if (!list->first) list->last = NULL;
  pthread_mutex_unlock(&lists);
  return work;
}
// Does what waits in a stream, until an event has been reached.
static Result drain(Stream* stream, const Event* event, unsigned long number) {
  Result result = SUCCESS;
  pthread_mutex_lock(&work_lock);
  while (!result && !(event && event->done >= number)) {
    Work* work = taken(&stream->waiting);
    if (!work) break;
    result = work->run(work);
    free(work);
  }
  pthread_mutex_unlock(&work_lock);
  return result;
}
static Result drain_all(void) {
  Result result = drain(&legacy, NULL, 0);
  for (Stream* stream = streams; stream && !result; stream = stream->next)
    result = drain(stream, NULL, 0);
  return result;
}
static Result put(void* handle, const Work* work) {
  Stream* stream = of(handle);
  if (stream->capture) return append(stream->capture, work), SUCCESS;
  append(&stream->waiting, work);
  return late() ? SUCCESS : drain(stream, NULL, 0);
}
// Whether a thread that captures may do this: thread-local capture forbids what may wait.
static Result unsafe(const char* name) {
  note(name);
  spoiled |= capturing;
  return capturing ? CAPTURE_UNSUPPORTED : SUCCESS;
}

Result cuStreamCreateWithPriority(void** stream, unsigned flags, int priority) {
  note(flags & 1 ? "cuStreamCreate non-blocking" : "cuStreamCreate");
  Stream* made = calloc(1, sizeof *made);
  pthread_mutex_lock(&lists);
  made->next = streams;
  *stream = streams = made;
  pthread_mutex_unlock(&lists);
  return SUCCESS;
}
Result cuStreamCreate(void** stream, unsigned flags) {
  return cuStreamCreateWithPriority(stream, flags, 0);
}
Result cuStreamDestroy_v2(void* handle) { return SUCCESS; }  // its work is done some time later
Result cuStreamQuery(void* handle) { return of(handle)->waiting.first ? NOT_READY : SUCCESS; }
Result cuStreamSynchronize(void* handle) {
  const Result result = unsafe("cuStreamSynchronize");
  return result ? result : drain(of(handle), NULL, 0);
}
Result cuCtxSynchronize(void) {
  const Result result = unsafe("cuCtxSynchronize");
  return result ? result : drain_all();
}

static Result record(Work* work) { return work->event->done = work->number, SUCCESS; }
static Result wait(Work* work) {
  return work->event->stream ? drain(work->event->stream, work->event, work->number) : SUCCESS;
}
Result cuEventCreate(void** event, unsigned flags) {
  note("cuEventCreate");
  return *event = calloc(1, sizeof(Event)), SUCCESS;
}
Result cuEventDestroy_v2(void* event) { return SUCCESS; }
Result cuEventRecord(Event* event, void* stream) {
  note("cuEventRecord");
  Work work = {.run = record, .event = event, .number = ++event->wanted};
  event->stream = of(stream);
  return put(stream, &work);
}
Result cuStreamWaitEvent(void* stream, Event* event, unsigned flags) {
  note("cuStreamWaitEvent");
  Work work = {.run = wait, .event = event, .number = event->wanted};
  return put(stream, &work);
}
Result cuEventSynchronize(Event* event) {
  const Result result = unsafe("cuEventSynchronize");
  return result || !event->stream ? result : drain(event->stream, event, event->wanted);
}
Result cuEventQuery(Event* event) { return event->done < event->wanted ? NOT_READY : SUCCESS; }
Result cuEventElapsedTime(float* ms, Event* a, Event* b) { return *ms = 1.0f, SUCCESS; }
Result cuEventElapsedTime_v2(float* ms, Event* a, Event* b) { return *ms = 1.0f, SUCCESS; }

// Memory lies between fences of 256 bytes, full of NaN, like memory that nobody has written to. In
// the first fence is the size.
static Result allocate(void** address, size_t bytes) {
  const size_t all = (bytes + 1023) / 256 * 256;
  char* memory = aligned_alloc(256, all);
  memset(memory, 0xFF, all);
  memcpy(memory, &bytes, sizeof bytes);
  return *address = memory + 256, SUCCESS;
}
static Result release(char* address) {
  const Result result = drain_all();  // as the driver: what uses it ends first
  size_t bytes;
  memcpy(&bytes, address - 256, sizeof bytes);
  for (int i = 0; i < 256; ++i)
    if ((unsigned char)address[bytes + i] != 0xFF) note("written behind an allocation");
  memset(address - 256, 0xEE, 256 + bytes);
  return free(address - 256), result;
}
Result cuMemAlloc_v2(void** address, size_t bytes) {
  const Result result = unsafe("cuMemAlloc");
  return result ? result : allocate(address, bytes);
}
Result cuMemFree_v2(char* address) {
  const Result result = unsafe("cuMemFree");
  return result ? result : release(address);
}
Result cuMemHostAlloc(void** address, size_t bytes, unsigned flags) {
  const Result result = unsafe("cuMemHostAlloc");
  return result ? result : allocate(address, bytes);
}
Result cuMemFreeHost(char* address) {
  const Result result = unsafe("cuMemFreeHost");
  return result ? result : release(address);
}
Result cuMemGetInfo_v2(size_t* left, size_t* all) { return *left = *all = 1 << 30, SUCCESS; }

static Result copy(Work* work) {
  return memcpy(work->target, work->source, work->bytes), SUCCESS;
}
Result cuMemcpyAsync(void* target, void* source, size_t bytes, void* stream) {
  note("cuMemcpyAsync");
  Work work = {.run = copy, .target = target, .source = source, .bytes = bytes};
  return put(stream, &work);
}
Result cuMemcpyHtoDAsync_v2(void* target, void* source, size_t bytes, void* stream) {
  return cuMemcpyAsync(target, source, bytes, stream);
}
Result cuMemcpyDtoHAsync_v2(void* target, void* source, size_t bytes, void* stream) {
  return cuMemcpyAsync(target, source, bytes, stream);
}
Result cuMemcpyDtoDAsync_v2(void* target, void* source, size_t bytes, void* stream) {
  return cuMemcpyAsync(target, source, bytes, stream);
}
static Result call(Work* work) { return ((void (*)(void*))work->target)(work->source), SUCCESS; }
Result cuLaunchHostFunc(void* stream, void* function, void* data) {
  note("cuLaunchHostFunc");
  Work work = {.run = call, .target = function, .source = data};
  return put(stream, &work);
}
