// The device, its attributes, and contexts: each thread has a stack of current ones.
#include <algorithm>
#include <cstring>

#include "call.h"

namespace sim {
namespace {

int attribute(int which) {
  const Device& device = world().device;
  auto chosen = device.attributes.find(which);
  if (chosen != device.attributes.end()) return chosen->second;
  // An Orin: one integrated GPU that shares the board's memory
  static const std::map<int, int> orin = {
      {CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 2},
      {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
      {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1300000},
      {CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1},
      {CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED, 1},
      {CU_DEVICE_ATTRIBUTE_INTEGRATED, 1},
      {CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY, 1},
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
      {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 8},
      {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
      {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
  };
  if (which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) return device.compute_capability / 10;
  if (which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR) return device.compute_capability % 10;
  auto known = orin.find(which);
  return known == orin.end() ? 0 : known->second;
}

bool no_such(CUdevice device) { return device < 0 || device >= world().device.count; }

Context* make_context(CUdevice device, bool primary) {
  auto context = new Context;
  context->device = device;
  context->primary = primary;
  context->null_stream.context = context;
  context->null_stream.id = ++world().next_id;
  context->null_stream.is_null = true;
  world().contexts.insert(context);
  return context;
}

bool forgotten(CUcontext handle) { return world().forgotten.count(reinterpret_cast<Context*>(handle)); }

CUresult find_context(CUcontext handle, Context** context) {
  *context = reinterpret_cast<Context*>(handle);
  if (world().contexts.count(*context)) return CUDA_SUCCESS;
  note("dead_context", "the handle is no living context");
  return CUDA_ERROR_INVALID_CONTEXT;
}

void leave(Context* context) {
  if (!context_stack.empty() && context_stack.back() == context) context_stack.pop_back();
}

// What a thread has begun is finished; what was only queued is lost, and whoever waits for it is let go.
size_t abandon(Stream* stream, Lock& lock) {
  if (!stream->queue.empty() && stream->queue.front()->state == State::kRunning)
    run(stream->queue.front(), lock);
  size_t count = stream->queue.size();
  for (const OperationPtr& operation : stream->queue) operation->state = State::kDone;
  stream->queue.clear();
  world().queued -= count;
  world().operation_done.notify_all();
  return count;
}

void note_leaks(const Context& context, const std::vector<AllocationPtr>& memory) {
  for (auto& allocation : memory)
    note("leaked", std::string(allocation->kind == Kind::kDevice ? "device" : "host") + " allocation " +
                       std::to_string(allocation->id) + " of " + std::to_string(allocation->size) + " bytes");
  for (Stream* stream : context.streams)
    if (!stream->destroyed) note("leaked", "stream");
  for (size_t i = 0; i < context.events.size(); i++) note("leaked", "event");
  for (size_t i = 0; i < context.graphs.size(); i++) note("leaked", "graph");
  for (size_t i = 0; i < context.graph_execs.size(); i++) note("leaked", "executable graph");
}

}  // namespace

// All that the context owns goes with it. In a poisoned context nothing could have been freed, so there is
// nothing to blame.
void destroy(Context* context, bool quietly, Lock& lock) {
  World& w = world();
  bool blame = !quietly && !context->sticky;
  size_t abandoned = 0;
  for (Stream* stream : context->all_streams()) abandoned += abandon(stream, lock);
  if (abandoned && blame)
    note("abandoned", std::to_string(abandoned) + " operations were queued when their context went");
  std::vector<AllocationPtr> memory;
  for (auto& [address, allocation] : w.by_device)
    if (allocation->context == context) memory.push_back(allocation);
  if (blame) note_leaks(*context, memory);
  for (auto& allocation : memory) release(allocation);
  for (auto it = w.captures.begin(); it != w.captures.end();)
    it = (*it)->context == context ? w.captures.erase(it) : std::next(it);
  context->streams.clear();
  context->events.clear();
  context->graphs.clear();
  context->graph_execs.clear();
  context->alive = false;
  w.contexts.erase(context);
  if (context->primary) w.primary.erase(context->device);
}

}  // namespace sim

using namespace sim;

API cuInit(unsigned) {
  ENTER(kNothing);
  if (!world().device.count) return CUDA_ERROR_NO_DEVICE;
  world().initialised = true;
  return CUDA_SUCCESS;
}

API cuDriverGetVersion(int* version) {
  ENTER(kNothing);
  *version = world().device.driver_version;
  return CUDA_SUCCESS;
}

API cuDeviceGetCount(int* count) {
  ENTER(kInit);
  *count = world().device.count;
  return CUDA_SUCCESS;
}

API cuDeviceGet(CUdevice* device, int ordinal) {
  ENTER(kInit);
  if (no_such(ordinal)) return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}

API cuDeviceGetName(char* name, int size, CUdevice device) {
  ENTER(kInit);
  if (no_such(device)) return CUDA_ERROR_INVALID_DEVICE;
  snprintf(name, size, "%s", world().device.name.c_str());
  return CUDA_SUCCESS;
}

API cuDeviceTotalMem(size_t* size, CUdevice device) {
  ENTER(kInit);
  if (no_such(device)) return CUDA_ERROR_INVALID_DEVICE;
  *size = world().device.memory;
  return CUDA_SUCCESS;
}

API cuDeviceComputeCapability(int* major, int* minor, CUdevice device) {
  ENTER(kInit);
  if (no_such(device)) return CUDA_ERROR_INVALID_DEVICE;
  *major = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  *minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  return CUDA_SUCCESS;
}

API cuDeviceGetAttribute(int* value, CUdevice_attribute which, CUdevice device) {
  ENTER(kInit);
  if (no_such(device)) return CUDA_ERROR_INVALID_DEVICE;
  *value = attribute(which);
  return CUDA_SUCCESS;
}

// ---- contexts of one's own --------------------------------------------------------------------------------

API cuCtxCreate(CUcontext* handle, unsigned, CUdevice device) {
  ENTER(kInit);
  if (no_such(device)) return CUDA_ERROR_INVALID_DEVICE;
  context_stack.push_back(make_context(device, false));
  *handle = reinterpret_cast<CUcontext>(context_stack.back());
  return CUDA_SUCCESS;
}

API cuCtxDetach(CUcontext handle) {
  ENTER(kNothing);
  Context* found;
  if (forgotten(handle)) return CUDA_SUCCESS;
  if (CUresult code = find_context(handle, &found)) return code;
  if (--found->references == 0) {
    destroy(found, false, lock);
    leave(found);
  }
  return CUDA_SUCCESS;
}

// ---- the primary context of a device, shared with the CUDA runtime and TensorRT ---------------------------

API cuDevicePrimaryCtxRetain(CUcontext* handle, CUdevice device) {
  ENTER(kInit);
  if (no_such(device)) return CUDA_ERROR_INVALID_DEVICE;
  Context*& primary = world().primary[device];
  if (primary)
    primary->references++;
  else
    primary = make_context(device, true);
  *handle = reinterpret_cast<CUcontext>(primary);
  return CUDA_SUCCESS;
}

API cuDevicePrimaryCtxRelease(CUdevice device) {
  ENTER(kInit);
  auto primary = world().primary.find(device);
  if (primary == world().primary.end()) {
    note("bad_free", "the primary context is released more often than it was retained");
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  if (--primary->second->references == 0) destroy(primary->second, false, lock);
  return CUDA_SUCCESS;
}

// ---- the stack of current contexts ------------------------------------------------------------------------

API cuCtxPushCurrent(CUcontext handle) {
  ENTER(kNothing);
  Context* found = reinterpret_cast<Context*>(handle);
  if (!forgotten(handle))
    if (CUresult code = find_context(handle, &found)) return code;
  context_stack.push_back(found);
  return CUDA_SUCCESS;
}

API cuCtxPopCurrent(CUcontext* handle) {
  ENTER(kNothing);
  if (context_stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  if (handle) *handle = reinterpret_cast<CUcontext>(context_stack.back());
  context_stack.pop_back();
  return CUDA_SUCCESS;
}

API cuCtxGetDevice(CUdevice* device) {
  ENTER(kInit | kContext);
  *device = context->device;
  return CUDA_SUCCESS;
}

// It waits for every stream of the context, so none of them may be in a capture.
API cuCtxSynchronize(void) {
  ENTER(kInit | kContext | kUnsafeInCapture);
  for (Stream* stream : context->all_streams())
    if (CUresult code = refuse_waiting_for(stream, "cuCtxSynchronize")) return code;
  drain(context, lock);
  return context->sticky;
}
