// What tests and the simulated TensorRT say to the driver; simulator.py is the only caller.
#include <cstring>

#include "call.h"

using namespace sim;

// As when the process started, but for the addresses, which are never used twice. A thread that still waits
// is let go.
CONTROL void cusim_reset() {
  World& w = world();
  Lock lock(w.mutex);
  while (!w.contexts.empty()) {
    w.forgotten.insert(*w.contexts.begin());
    destroy(*w.contexts.begin(), true, lock);
  }
  context_stack.clear();
  interaction_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  w.initialised = false;
  w.device = Device();
  w.schedule = Schedule::kLazy;
  w.faults.clear();
  w.stats.clear();
  w.notes.clear();
  w.peak = w.used;
}

CONTROL void cusim_set_device(const char* name, size_t memory, int capability, int driver_version,
                              int count) {
  Lock lock(world().mutex);
  Device& device = world().device;
  device.name = name;
  device.memory = memory;
  device.compute_capability = capability;
  device.driver_version = driver_version;
  device.count = count;
}

CONTROL void cusim_set_attribute(int which, int value) {
  Lock lock(world().mutex);
  world().device.attributes[which] = value;
}

CONTROL int cusim_schedule(const char* schedule) {
  Lock lock(world().mutex);
  return set_schedule(schedule);
}

CONTROL void cusim_fail(const char* call, long nth, int code, long count) {
  Lock lock(world().mutex);
  world().faults.push_back({call, nth, CUresult(code), count});
}

CONTROL void cusim_clear_faults() {
  Lock lock(world().mutex);
  world().faults.clear();
}

CONTROL void cusim_note(const char* kind, const char* text) {
  Lock lock(world().mutex);
  note(kind, text);
}

// Memory that is still alive is checked for overruns here, what was freed has been.
CONTROL size_t cusim_report(char* buffer, size_t size) {
  Lock lock(world().mutex);
  std::string text = report();
  long overruns = 0;
  for (auto& [address, allocation] : world().by_device) overruns += overrun(*allocation);
  text += "live:overruns " + std::to_string(overruns) + "\n";
  if (size) strncpy(buffer, text.c_str(), size - 1), buffer[size - 1] = 0;
  return text.size() + 1;
}

// The bytes behind device addresses, for work that runs on the device; null, and a note, where a kernel would
// fault.
CONTROL void* cusim_device_bytes(CUcontext context, CUdeviceptr address, size_t size) {
  Lock lock(world().mutex);
  char* bytes;
  return resolve(reinterpret_cast<Context*>(context), address, size, nullptr, &bytes) ? nullptr : bytes;
}

CONTROL CUcontext cusim_current_context() {
  return context_stack.empty() ? nullptr : reinterpret_cast<CUcontext>(context_stack.back());
}

// Put work on a stream, as a library does that launches kernels; an error that it returns poisons the
// context. `captured` says that the work is a node of a graph now, to run at every launch of it.
CONTROL CUresult cusim_enqueue(CUstream handle, const char* name, int (*work)(size_t), size_t argument,
                               int* captured) {
  ENTER(kInit | kContext);
  Stream* stream;
  if (CUresult code = find_stream(context, handle, &stream)) return code;
  *captured = stream->capture != nullptr;
  return submit(stream, {name, [=] { return CUresult(work(argument)); }, true}, lock);
}
