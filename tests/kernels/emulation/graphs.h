// Graphs of the emulated driver: what is put into a stream that captures is listed, and done whenever
// the list is launched.
#pragma once
#include "streams.h"

static Result run_graph(Work* work) {
  Result result = SUCCESS;
  for (Work* one = ((List*)work->target)->first; one && !result; one = one->next)
    result = one->run(one);
  return result;
}
Result cuStreamBeginCapture_v2(void* handle, int mode) {
  const char* names[] = {"global", "thread-local", "relaxed"};
  char text[64];
  snprintf(text, sizeof text, "cuStreamBeginCapture %s", names[mode]);
  note(text);
  if (handle == NULL || of(handle)->capture) return CAPTURE_UNSUPPORTED;
  of(handle)->capture = calloc(1, sizeof(List));
  return capturing = mode != 2, SUCCESS;
}
Result cuStreamEndCapture(void* handle, List** graph) {
  note("cuStreamEndCapture");
  *graph = spoiled ? NULL : of(handle)->capture;
  of(handle)->capture = NULL;
  capturing = spoiled = 0;
  if (*graph) (*graph)->valid = 1;
  return *graph ? SUCCESS : CAPTURE_INVALIDATED;
}
Result cuStreamIsCapturing(void* handle, int* status) {
  return *status = of(handle)->capture ? 1 + spoiled : 0, SUCCESS;
}
Result cuStreamGetCaptureInfo_v3(void* handle, int* status, uint64_t* id, void** graph,
                                 const void** nodes, const void** edges, size_t* count) {
  *status = of(handle)->capture ? 1 + spoiled : 0;
  if (id) *id = (uintptr_t)of(handle)->capture;
  if (graph) *graph = of(handle)->capture;
  if (nodes) *nodes = NULL;
  if (edges) *edges = NULL;
  if (count) *count = 0;
  return SUCCESS;
}
Result cuStreamGetCaptureInfo_v2(void* handle, int* status, uint64_t* id, void** graph,
                                 const void** nodes, size_t* count) {
  return cuStreamGetCaptureInfo_v3(handle, status, id, graph, nodes, NULL, count);
}
// What a graph keeps alive is kept for ever.
Result cuUserObjectCreate(void** object, void* kept, void* destroy, unsigned count, unsigned flags) {
  return *object = malloc(8), SUCCESS;
}
Result cuUserObjectRetain(void* object, unsigned count) { return SUCCESS; }
Result cuUserObjectRelease(void* object, unsigned count) { return SUCCESS; }
Result cuGraphRetainUserObject(List* graph, void* object, unsigned count, unsigned flags) {
  return SUCCESS;
}
Result cuGraphReleaseUserObject(List* graph, void* object, unsigned count) { return SUCCESS; }
Result cuGraphCreate(List** graph, unsigned flags) {
  return *graph = calloc(1, sizeof **graph), SUCCESS;
}
Result cuGraphInstantiateWithFlags(List** executable, List* graph, uint64_t flags) {
  note("cuGraphInstantiate");
  if (!graph || !graph->valid) return INVALID_VALUE;
  *executable = calloc(1, sizeof **executable);
  **executable = *graph;  // the work itself is never given back
  return SUCCESS;
}
Result cuGraphInstantiateWithParams(List** executable, List* graph, void* parameters) {
  memset((char*)parameters + 16, 0, 12);  // node and result: success
  return cuGraphInstantiateWithFlags(executable, graph, 0);
}
Result cuGraphDestroy(List* graph) { return graph->valid = 0, SUCCESS; }
Result cuGraphExecDestroy(List* graph) { return graph->valid = 0, SUCCESS; }
Result cuGraphUpload(List* graph, void* stream) {
  note("cuGraphUpload");
  return graph->valid ? SUCCESS : INVALID_VALUE;
}
Result cuGraphLaunch(List* graph, void* stream) {
  note("cuGraphLaunch");
  if (!graph->valid) return INVALID_VALUE;
  Work work = {.run = run_graph, .target = graph};
  return put(stream, &work);
}
