// What the bindings of TensorRT look for in its libraries when they are imported, and nothing in it.
#include <stddef.h>
#define NOTHING(name) void *name(void) { return NULL; }
NOTHING(createInferBuilder_INTERNAL)
NOTHING(createInferRefitter_INTERNAL)
NOTHING(createInferRuntime_INTERNAL)
NOTHING(createNvOnnxParserRefitter_INTERNAL)
NOTHING(createNvOnnxParser_INTERNAL)
NOTHING(getBuilderPluginRegistry)
NOTHING(getPluginRegistry)
NOTHING(initLibNvInferPlugins)
NOTHING(getLogger)
int getNvOnnxParserVersion(void) { return 0; }
int getInferLibVersion(void) { return 0; }
