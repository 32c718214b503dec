// A driver without a GPU: memory is the processor's, a module is all the libraries of emulated
// kernels that $ARNET_EMULATED names, with colons between them. Enough for cuda.core and pycuda to
// launch with, in streams (streams.h) and graphs (graphs.h).
#define _GNU_SOURCE
#include <dlfcn.h>
#include "graphs.h"

static int context;
static __thread int depth;

Result cuInit(unsigned flags) { return SUCCESS; }
Result cuDriverGetVersion(int* version) { return *version = 13000, SUCCESS; }
Result cuGetErrorString(int e, const char** text) { return *text = "emulated driver", SUCCESS; }
Result cuGetErrorName(int e, const char** text) { return *text = "CUDA_ERROR_EMULATED", SUCCESS; }
Result cuDeviceGetCount(int* count) { return *count = 1, SUCCESS; }
Result cuDeviceGet(int* device, int number) {
  return *device = number, number == 0 ? SUCCESS : 101;
}
Result cuDeviceGetName(char* name, int size, int device) {
  return snprintf(name, size, "emulated"), SUCCESS;
}
Result cuDeviceGetAttribute(int* value, int attribute, int device) {
  switch (attribute) {
    case 1: *value = 1024; break;  // threads of a block
    case 2: case 3: *value = 1024; break;
    case 4: *value = 64; break;
    case 5: *value = 2147483647; break;  // blocks of a grid
    case 6: case 7: *value = 65535; break;
    case 8: *value = 49152; break;  // shared memory of a block
    case 10: *value = 32; break;    // threads of a warp
    case 75: *value = 8; break;     // compute capability
    default: *value = 0;
  }
  return SUCCESS;
}
Result cuDeviceComputeCapability(int* major, int* minor, int device) {
  return *major = 8, *minor = 0, SUCCESS;
}
Result cuDevicePrimaryCtxRetain(void** c, int device) { return *c = &context, SUCCESS; }
Result cuDevicePrimaryCtxRelease_v2(int device) { return SUCCESS; }
Result cuCtxGetCurrent(void** c) { return *c = depth ? &context : NULL, SUCCESS; }
Result cuCtxSetCurrent(void* c) { return depth = c != NULL, SUCCESS; }
Result cuCtxPushCurrent_v2(void* c) { return ++depth, SUCCESS; }
Result cuCtxPopCurrent_v2(void** c) { return *c = &context, --depth, SUCCESS; }
Result cuCtxGetDevice(int* device) { return *device = 0, SUCCESS; }
Result cuCtxGetDevice_v2(int* device, void* c) { return *device = 0, SUCCESS; }
Result cuCtxAttach(void** c, unsigned flags) { return *c = &context, SUCCESS; }
Result cuCtxDetach(void* c) { return SUCCESS; }
Result cuCtxDestroy_v2(void* c) { return SUCCESS; }
Result cuDevicePrimaryCtxRelease(int device) { return SUCCESS; }
Result cuCtxGetStreamPriorityRange(int* least, int* most) { return *least = *most = 0, SUCCESS; }
Result cuStreamGetFlags(void* stream, unsigned* flags) { return *flags = 1, SUCCESS; }
Result cuStreamGetPriority(void* stream, int* priority) { return *priority = 0, SUCCESS; }
Result cuStreamGetCtx(void* stream, void** c) { return *c = &context, SUCCESS; }

typedef struct {
  void* libraries[16];
  int count;
} Module;
Result cuModuleLoadDataEx(void** module, const void* code, unsigned n, void* names, void* values) {
  const char* given = getenv("ARNET_EMULATED");
  Module* made = calloc(1, sizeof *made);
  char* paths = strdup(given ? given : "");
  note("cuModuleLoadData");
  for (char* path = strtok(paths, ":"); path && made->count < 16; path = strtok(NULL, ":"))
    if (!(made->libraries[made->count++] = dlopen(path, RTLD_NOW))) return INVALID_IMAGE;
  return *module = made, made->count ? SUCCESS : INVALID_IMAGE;
}
Result cuModuleLoadData(void** module, const void* code) {
  return cuModuleLoadDataEx(module, code, 0, NULL, NULL);
}
Result cuModuleUnload(void* module) { return SUCCESS; }

typedef struct {
  const char* (*run)(const unsigned* grid, const unsigned* block, void** arguments, unsigned seed);
  int (*unpack)(char* buffer, size_t size, void** arguments);
  unsigned (*sizes)(unsigned* sizes);
  char name[128];
} Function;
static void* symbol_of(const Module* module, const char* kind, const char* name) {
  char symbol[256];
  void* found = NULL;
  snprintf(symbol, sizeof symbol, "%s_%s", kind, name);
  for (int i = 0; i < module->count && !found; ++i) found = dlsym(module->libraries[i], symbol);
  return found;
}
Result cuModuleGetFunction(void** function, void* module, const char* name) {
  Function* found = calloc(1, sizeof *found);
  found->run = symbol_of(module, "emulate", name);
  found->unpack = symbol_of(module, "unpack", name);
  found->sizes = symbol_of(module, "sizes", name);
  snprintf(found->name, sizeof found->name, "launch %s", name);
  return *function = found, found->run && found->unpack && found->sizes ? SUCCESS : NOT_FOUND;
}
Result cuLibraryLoadData(void** library, const void* code, void* a, void* b, unsigned c, void* d,
                         void* e, unsigned f) {
  return cuModuleLoadData(library, code);
}
Result cuLibraryGetKernel(void** kernel, void* library, const char* name) {
  return cuModuleGetFunction(kernel, library, name);
}
Result cuLibraryUnload(void* library) { return SUCCESS; }
Result cuKernelGetFunction(void** function, void* kernel) { return *function = kernel, SUCCESS; }
Result cuKernelGetParamInfo(void* kernel, size_t i, size_t* offset, size_t* size) {
  return INVALID_VALUE;
}
Result cuFuncGetAttribute(int* value, int attribute, void* function) { return *value = 0, SUCCESS; }

Result cuFuncSetBlockShape(void* function, int x, int y, int z) { return SUCCESS; }

static Result run_kernel(Work* work) {
  const Function* function = work->target;
  void* arguments[64];
  for (unsigned i = 0; i < work->count; ++i) arguments[i] = &work->values[i];
  const char* error = function->run(work->grid, work->block, arguments, 1);
  if (error) fprintf(stderr, "%s\n", error);
  return error ? FAILED : SUCCESS;
}
// Arguments come as addresses of the values, or packed: 1, the buffer, 2, the address of its size.
// As with a real driver, they are read now and may change before the kernel runs.
Result cuLaunchKernel(void* handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                      unsigned by, unsigned bz, unsigned shared, void* stream, void** arguments,
                      void** packed) {
  Function* function = handle;
  Work work = {.run = run_kernel, .target = function, .grid = {gx, gy, gz}, .block = {bx, by, bz}};
  void* places[64];
  unsigned sizes[64];
  note(function->name);
  if (!arguments) {
    arguments = places;
    if (packed[0] != (void*)1 || packed[2] != (void*)2) return INVALID_VALUE;
    // unpack answers with a bool of C++, the lowest byte alone
    if (!(function->unpack(packed[1], *(size_t*)packed[3], places) & 1)) return INVALID_VALUE;
  }
  work.count = function->sizes(sizes);
  for (unsigned i = 0; i < work.count; ++i) memcpy(&work.values[i], arguments[i], sizes[i]);
  return put(stream, &work);
}
typedef struct {
  unsigned gx, gy, gz, bx, by, bz, shared;
  void *stream, *attributes;
  unsigned count;
} Configuration;
Result cuLaunchKernelEx(const Configuration* c, void* function, void** arguments, void** packed) {
  return cuLaunchKernel(function, c->gx, c->gy, c->gz, c->bx, c->by, c->bz, c->shared, c->stream,
                        arguments, packed);
}
Result cuGetProcAddress_v2(const char* name, void** address, int version, uint64_t flags,
                           int* status) {
  const char* endings[] = {"_v2", ""};
  void* self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  *address = NULL;
  for (int i = 0; i < 2 && !*address; ++i) {
    char symbol[256];
    snprintf(symbol, sizeof symbol, "%s%s", name, endings[i]);
    *address = dlsym(self, symbol);
  }
  if (status) *status = *address ? 0 : 1;
  return *address ? SUCCESS : NOT_FOUND;
}
Result cuGetProcAddress(const char* name, void** address, int version, uint64_t flags) {
  return cuGetProcAddress_v2(name, address, version, flags, NULL);
}
