// State, notes, faults, the report, and the entry of every call.
#include "world.h"

#include <cstdio>
#include <cstdlib>

#include "call.h"

namespace sim {

// Never destroyed: Python may still call into the driver while the process exits.
World& world() {
  static World* the = new World;
  return *the;
}

thread_local std::vector<Context*> context_stack;
thread_local bool in_host_function = false;
thread_local CUstreamCaptureMode interaction_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

std::vector<Stream*> Context::all_streams() {
  std::vector<Stream*> all{&null_stream};
  all.insert(all.end(), streams.begin(), streams.end());
  return all;
}

bool Context::idle() {
  for (Stream* stream : all_streams())
    if (!stream->queue.empty()) return false;
  return true;
}

void note(const std::string& kind, const std::string& text) {
  World& w = world();
  w.stats[kind]++;
  if (w.notes.size() < 1000) w.notes.push_back(kind + ": " + text);
  if (w.trace) fprintf(w.trace, "  ! %s: %s\n", kind.c_str(), text.c_str()), fflush(w.trace);
}

// Every fault counts the uses of its call; the first whose turn it is gives its code. A count below zero is
// never used up.
CUresult injected_fault(const std::string& call) {
  World& w = world();
  CUresult code = CUDA_SUCCESS;
  for (Fault& fault : w.faults) {
    if (fault.call != call || !fault.count) continue;
    if (fault.nth > 1) {
      fault.nth--;
      continue;
    }
    fault.count--;
    if (!code) code = fault.code;
  }
  if (code) w.stats["injected"]++;
  return code;
}

// ---- entering a call --------------------------------------------------------------------------------------

// cuda.h renames functions (cuMemAlloc is cuMemAlloc_v2 in the binary); tests use the documented name.
static std::string documented_name(const char* function) {
  std::string name = function;
  size_t mark = name.rfind("_v");
  if (mark != std::string::npos && mark + 3 == name.size()) name.resize(mark);
  return name;
}

Call::Call(const char* function, unsigned needs) : lock(world().mutex) {
  error = enter(documented_name(function), needs);
  over = over || error;
}

CUresult Call::enter(const std::string& name, unsigned needs) {
  World& w = world();
  if (!context_stack.empty()) context = context_stack.back();
  if ((needs & kContext) && w.forgotten.count(context)) return over = true, CUDA_SUCCESS;
  w.stats["calls"]++;
  w.stats["call:" + name]++;
  if (w.trace) fprintf(w.trace, "%s\n", name.c_str()), fflush(w.trace);
  // cuLaunchHostFunc: "The host function must not make any CUDA API calls."
  if (in_host_function && needs != kNothing) {
    note("call_in_host_function", name);
    return CUDA_ERROR_NOT_PERMITTED;
  }
  if (needs != kNothing && !w.initialised) return CUDA_ERROR_NOT_INITIALIZED;
  if (CUresult code = injected_fault(name)) return code;
  return needs & kContext ? check_context(name, needs) : CUDA_SUCCESS;
}

CUresult Call::check_context(const std::string& name, unsigned needs) {
  if (!context) {
    note("no_context", name + ": no context is current in this thread");
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  if (!context->alive) {
    note("dead_context", name + ": the current context was destroyed");
    return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  }
  // "This leaves the process in an inconsistent state and any further CUDA work will return the same error."
  if (context->sticky) return context->sticky;
  if (needs & kUnsafeInCapture)
    if (CUresult code = refuse_unsafe_call(name)) return code;
  random_progress(lock);
  return context->sticky;
}

// ---- schedule and report ----------------------------------------------------------------------------------

bool set_schedule(const std::string& text) {
  World& w = world();
  if (text == "lazy")
    w.schedule = Schedule::kLazy;
  else if (text == "eager")
    w.schedule = Schedule::kEager;
  else if (text.compare(0, 7, "random:") == 0)
    w.schedule = Schedule::kRandom, w.random.seed(atoi(text.c_str() + 7));
  else
    return false;
  return true;
}

std::string report() {
  World& w = world();
  std::string text;
  auto line = [&](const std::string& key, long value) { text += key + " " + std::to_string(value) + "\n"; };
  long device = 0, host = 0, streams = 0, events = 0, graphs = 0, execs = 0;
  for (auto& [address, allocation] : w.by_device) (allocation->kind == Kind::kDevice ? device : host)++;
  for (Context* context : w.contexts) {
    for (Stream* stream : context->streams) streams += !stream->destroyed;
    events += context->events.size();
    graphs += context->graphs.size();
    execs += context->graph_execs.size();
  }
  line("live:contexts", w.contexts.size());
  line("live:device", device);
  line("live:host", host);
  line("live:streams", streams);
  line("live:events", events);
  line("live:graphs", graphs);
  line("live:graph_execs", execs);
  line("live:captures", w.captures.size());
  line("used_bytes", w.used);
  line("peak_bytes", w.peak);
  line("queued", w.queued);
  for (auto& [key, value] : w.stats) line(key, value);
  for (auto& words : w.notes) text += "note " + words + "\n";
  return text;
}

// ---- a process of its own is set up by its environment ----------------------------------------------------

static void write_report() {
  Lock lock(world().mutex);
  if (FILE* file = fopen(world().report_path.c_str(), "w")) {
    fputs(report().c_str(), file);
    fclose(file);
  }
}

__attribute__((constructor)) static void read_environment() {
  World& w = world();
  auto value = [](const char* key) {
    const char* found = getenv(key);
    return std::string(found ? found : "");
  };
  std::string text;
  if (!(text = value("CUSIM_SCHEDULE")).empty() && !set_schedule(text))
    fprintf(stderr, "CUSIM_SCHEDULE=%s: lazy, eager or random:SEED expected\n", text.c_str()), abort();
  if (!(text = value("CUSIM_TRACE")).empty()) w.trace = fopen(text.c_str(), "w");
  if (!(w.report_path = value("CUSIM_REPORT")).empty()) atexit(write_report);
}

}  // namespace sim
