// A driver without a GPU: memory is the processor's, a module is a library of emulated kernels
// ($ARNET_EMULATED), and a launch runs it at once. Enough for cuda.core and pycuda to launch with.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
enum { SUCCESS = 0, INVALID_VALUE = 1, INVALID_IMAGE = 200, NOT_FOUND = 500, FAILED = 719 };
static int context, depth;

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
Result cuCtxSynchronize(void) { return SUCCESS; }
Result cuCtxAttach(void** c, unsigned flags) { return *c = &context, SUCCESS; }
Result cuCtxDetach(void* c) { return SUCCESS; }
Result cuCtxDestroy_v2(void* c) { return SUCCESS; }
Result cuDevicePrimaryCtxRelease(int device) { return SUCCESS; }
Result cuStreamQuery(void* stream) { return SUCCESS; }
Result cuCtxGetStreamPriorityRange(int* least, int* most) { return *least = *most = 0, SUCCESS; }
Result cuStreamCreateWithPriority(void** stream, unsigned flags, int priority) {
  return *stream = malloc(8), SUCCESS;
}
Result cuStreamCreate(void** stream, unsigned flags) { return *stream = malloc(8), SUCCESS; }
Result cuStreamDestroy_v2(void* stream) { return free(stream), SUCCESS; }
Result cuStreamSynchronize(void* stream) { return SUCCESS; }
Result cuStreamGetFlags(void* stream, unsigned* flags) { return *flags = 1, SUCCESS; }
Result cuStreamGetPriority(void* stream, int* priority) { return *priority = 0, SUCCESS; }
Result cuStreamGetCtx(void* stream, void** c) { return *c = &context, SUCCESS; }

Result cuModuleLoadDataEx(void** module, const void* code, unsigned n, void* names, void* values) {
  const char* path = getenv("ARNET_EMULATED");
  *module = path ? dlopen(path, RTLD_NOW) : NULL;
  return *module ? SUCCESS : INVALID_IMAGE;
}
Result cuModuleLoadData(void** module, const void* code) {
  return cuModuleLoadDataEx(module, code, 0, NULL, NULL);
}
Result cuModuleUnload(void* module) { return SUCCESS; }

typedef struct {
  const char* (*run)(const unsigned* grid, const unsigned* block, void** arguments, unsigned seed);
  int (*unpack)(char* buffer, size_t size, void** arguments);
} Function;
Result cuModuleGetFunction(void** function, void* module, const char* name) {
  char symbol[256];
  Function* found = malloc(sizeof *found);
  snprintf(symbol, sizeof symbol, "emulate_%s", name);
  found->run = dlsym(module, symbol);
  snprintf(symbol, sizeof symbol, "unpack_%s", name);
  found->unpack = dlsym(module, symbol);
  return *function = found, found->run && found->unpack ? SUCCESS : NOT_FOUND;
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

// Arguments come as addresses of the values, or packed: 1, the buffer, 2, the address of its size.
Result cuLaunchKernel(void* handle, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                      unsigned by, unsigned bz, unsigned shared, void* stream, void** arguments,
                      void** packed) {
  const unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
  const Function* function = handle;
  void* places[64];
  if (!arguments) {
    arguments = places;
    if (packed[0] != (void*)1 || packed[2] != (void*)2) return INVALID_VALUE;
    // unpack answers with a bool of C++, the lowest byte alone
    if (!(function->unpack(packed[1], *(size_t*)packed[3], places) & 1)) return INVALID_VALUE;
  }
  const char* error = function->run(grid, block, arguments, 1);
  if (error) fprintf(stderr, "%s\n", error);
  return error ? FAILED : SUCCESS;
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
