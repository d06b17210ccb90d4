// Stream capture and graphs.
//
// pycuda has no calls for these; a program reaches them through libcuda itself. The rules are those of
// cuStreamBeginCapture, cuThreadExchangeStreamCaptureMode and the guide's "Stream capture": captured work
// does not run; waiting for it, allocating, or using the NULL stream beside it invalidates the capture;
// streams that joined through an event must be joined back. A launched graph runs its nodes in an order that
// respects their edges and nothing else: the random schedule draws it, so an edge that was forgotten shows.
#include <algorithm>

#include "call.h"

namespace sim {

void invalidate(const CapturePtr& capture, const std::string& why) {
  note("capture", why);
  capture->invalidated = true;
}

CUresult submit(Stream* stream, Task task, Lock& lock, OperationPtr* queued) {
  if (CapturePtr capture = stream->capture) {
    if (capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    capture->nodes.push_back({std::move(task), stream->capture_tail});
    stream->capture_tail = {capture->nodes.size() - 1};
    return CUDA_SUCCESS;
  }
  if (CUresult code = refuse_waiting_for(stream, task.name.c_str())) return code;
  OperationPtr operation = enqueue(stream, std::move(task), lock);
  if (queued) *queued = operation;
  return CUDA_SUCCESS;
}

// Calls that a capture cannot observe, such as an allocation: who may not make them depends on the capture's
// mode and on the thread's (cuThreadExchangeStreamCaptureMode).
CUresult refuse_unsafe_call(const std::string& call) {
  if (interaction_mode == CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_SUCCESS;
  CUresult result = CUDA_SUCCESS;
  for (const CapturePtr& capture : world().captures) {
    bool mine =
        capture->thread == std::this_thread::get_id() && capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED;
    bool everybodys =
        capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL && interaction_mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
    if (!mine && !everybodys) continue;
    invalidate(capture, call + " while a stream is being captured");
    result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return result;
}

static CapturePtr blocking_capture(const Context* context) {
  for (Stream* stream : context->streams)
    if (stream->capture && stream->blocking()) return stream->capture;
  return nullptr;
}

// "It is invalid to synchronize or query the execution status of a stream which is being captured"; and the
// NULL stream would wait for the blocking streams of its context, captured ones too.
CUresult refuse_waiting_for(Stream* stream, const char* call) {
  if (stream->capture) {
    invalidate(stream->capture, std::string(call) + " of a stream that is being captured");
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  if (!stream->is_null) return CUDA_SUCCESS;
  CapturePtr capture = blocking_capture(stream->context);
  if (!capture) return CUDA_SUCCESS;
  invalidate(capture, std::string(call) + " in the NULL stream while a blocking stream is being captured");
  return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
}

CUresult capture_event(Stream* stream, Event* event) {
  if (stream->capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  event->capture = stream->capture;
  event->capture_nodes = stream->capture_tail;
  return CUDA_SUCCESS;
}

// A wait for an event of a capture takes the stream into that capture; no other wait may cross its boundary.
CUresult capture_wait(Stream* stream, Event* event) {
  if (!event->capture) {
    invalidate(stream->capture, "a captured stream waits for an event from outside");
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  if (event->capture->ended) return CUDA_ERROR_CAPTURED_EVENT;
  if (event->capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (stream->is_null) {
    invalidate(event->capture, "the NULL stream waits for captured work");
    return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  }
  if (stream->capture && stream->capture != event->capture) {
    invalidate(stream->capture, "an event would merge two captures");
    invalidate(event->capture, "an event would merge two captures");
    return CUDA_ERROR_STREAM_CAPTURE_MERGE;
  }
  stream->capture = event->capture;
  std::vector<size_t>& tail = stream->capture_tail;
  tail.insert(tail.end(), event->capture_nodes.begin(), event->capture_nodes.end());
  return CUDA_SUCCESS;
}

static void finish_capture(const CapturePtr& capture) {
  for (Stream* stream : capture->context->streams) {
    if (stream->capture != capture) continue;
    stream->capture = nullptr;
    stream->capture_tail.clear();
  }
  capture->ended = true;
  world().captures.erase(capture);
}

void leave_capture(Stream* stream) {
  CapturePtr capture = stream->capture;
  if (!capture) return;
  invalidate(capture, "a stream was destroyed while it was being captured");
  stream->capture = nullptr;
  if (stream == capture->origin) finish_capture(capture);
}

namespace {

// Every captured stream must end in something that the origin waits for.
bool joined(const Capture& capture) {
  std::vector<bool> reached(capture.nodes.size());
  std::vector<size_t> todo = capture.origin->capture_tail;
  while (!todo.empty()) {
    size_t node = todo.back();
    todo.pop_back();
    if (reached[node]) continue;
    reached[node] = true;
    todo.insert(todo.end(), capture.nodes[node].after.begin(), capture.nodes[node].after.end());
  }
  for (Stream* stream : capture.context->streams) {
    if (stream->capture.get() != &capture) continue;
    for (size_t node : stream->capture_tail)
      if (!reached[node]) return false;
  }
  return true;
}

size_t next_node(const std::vector<Node>& nodes, const std::vector<bool>& done) {
  std::vector<size_t> ready;
  for (size_t i = 0; i < nodes.size(); i++) {
    const std::vector<size_t>& after = nodes[i].after;
    if (!done[i] && std::all_of(after.begin(), after.end(), [&](size_t before) { return done[before]; }))
      ready.push_back(i);
  }
  World& w = world();
  return ready[w.schedule == Schedule::kRandom ? w.random() % ready.size() : 0];
}

// Called with the world unlocked, as an operation that calls out.
CUresult run_nodes(Context* context, const std::vector<Node>& nodes) {
  std::vector<bool> done(nodes.size());
  Lock lock(world().mutex);
  for (size_t count = 0; count < nodes.size(); count++) {
    size_t chosen = next_node(nodes, done);
    const Task& task = nodes[chosen].task;
    if (CUresult code = injected_fault("async:" + task.name)) return context->sticky = code;
    if (task.calls_out) lock.unlock();
    CUresult code = task.work();
    if (task.calls_out) lock.lock();
    if (code) return code;
    done[chosen] = true;
  }
  return CUDA_SUCCESS;
}

template <typename Object>
CUresult known(const std::set<Object*>& all, Object* object, const char* what) {
  if (all.count(object)) return CUDA_SUCCESS;
  note("bad_handle", std::string("the ") + what + " is not alive in this context");
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult instantiate(Context* context, CUgraphExec* handle, CUgraph graph_handle) {
  auto graph = reinterpret_cast<Graph*>(graph_handle);
  if (CUresult code = known(context->graphs, graph, "graph")) return code;
  auto nodes = std::make_shared<const std::vector<Node>>(graph->nodes);
  auto exec = new GraphExec{nodes, nullptr};
  context->graph_execs.insert(exec);
  *handle = reinterpret_cast<CUgraphExec>(exec);
  return CUDA_SUCCESS;
}

}  // namespace
}  // namespace sim

using namespace sim;

API cuStreamBeginCapture(CUstream handle, CUstreamCaptureMode mode) {
  ENTER(kInit | kContext);
  Stream* stream;
  if (CUresult code = find_stream(context, handle, &stream)) return code;
  if (stream->is_null)
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;  // "may not be initiated if stream is CU_STREAM_LEGACY"
  if (stream->capture) return CUDA_ERROR_ILLEGAL_STATE;
  stream->capture = std::make_shared<Capture>(Capture{context, stream, mode, std::this_thread::get_id(), {}});
  world().captures.insert(stream->capture);
  return CUDA_SUCCESS;
}

API cuStreamEndCapture(CUstream handle, CUgraph* graph) {
  ENTER(kInit | kContext);
  Stream* stream;
  *graph = nullptr;
  if (CUresult code = find_stream(context, handle, &stream)) return code;
  CapturePtr capture = stream->capture;
  if (!capture) return CUDA_ERROR_ILLEGAL_STATE;
  if (capture->origin != stream) {
    invalidate(capture, "the capture ends in another stream than it began");
    return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  }
  if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != std::this_thread::get_id()) {
    invalidate(capture, "the capture ends in another thread than it began");
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  }
  bool whole = joined(*capture);
  finish_capture(capture);
  if (capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (!whole) {
    note("capture", "a stream joined the capture and was not joined back");
    return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  }
  auto made = new Graph{std::move(capture->nodes)};
  context->graphs.insert(made);
  *graph = reinterpret_cast<CUgraph>(made);
  return CUDA_SUCCESS;
}

// Asked of the NULL stream "while a blocking stream in the same context is capturing, it will return
// CUDA_ERROR_STREAM_CAPTURE_IMPLICIT [...]. The blocking stream capture is not invalidated."
API cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
  ENTER(kInit | kContext);
  Stream* stream;
  if (CUresult code = find_stream(context, handle, &stream)) return code;
  if (stream->is_null && blocking_capture(context)) return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  *status = !stream->capture               ? CU_STREAM_CAPTURE_STATUS_NONE
            : stream->capture->invalidated ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                           : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  return CUDA_SUCCESS;
}

API cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  ENTER(kInit);
  std::swap(*mode, interaction_mode);
  return CUDA_SUCCESS;
}

API cuGraphGetNodes(CUgraph handle, CUgraphNode* nodes, size_t* count) {
  ENTER(kInit | kContext);
  auto graph = reinterpret_cast<Graph*>(handle);
  if (CUresult code = known(context->graphs, graph, "graph")) return code;
  if (nodes)
    for (size_t i = 0; i < std::min(*count, graph->nodes.size()); i++)
      nodes[i] = reinterpret_cast<CUgraphNode>(&graph->nodes[i]);
  *count = graph->nodes.size();
  return CUDA_SUCCESS;
}

API cuGraphDestroy(CUgraph handle) {
  ENTER(kInit | kContext);
  auto graph = reinterpret_cast<Graph*>(handle);
  if (CUresult code = known(context->graphs, graph, "graph")) return code;
  context->graphs.erase(graph);
  graph->nodes.clear();
  return CUDA_SUCCESS;
}

// What cuda.h calls cuGraphInstantiate since CUDA 12.
API cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long) {
  ENTER_AS("cuGraphInstantiate", kInit | kContext);
  return instantiate(context, exec, graph);
}

// "Each launch is ordered behind both any previous work in hStream and any previous launches of hGraphExec."
API cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
  ENTER(kInit | kContext);
  Stream* stream;
  auto exec = reinterpret_cast<GraphExec*>(handle);
  if (CUresult code = find_stream(context, stream_handle, &stream)) return code;
  if (CUresult code = known(context->graph_execs, exec, "executable graph")) return code;
  Task launch{"GraphLaunch", [context, nodes = exec->nodes] { return run_nodes(context, *nodes); }, true};
  if (stream->capture) return submit(stream, std::move(launch), lock);
  if (CUresult code = refuse_waiting_for(stream, "cuGraphLaunch")) return code;
  std::vector<OperationPtr> after;
  if (exec->last_launch && exec->last_launch->state != State::kDone) after.push_back(exec->last_launch);
  exec->last_launch = enqueue(stream, std::move(launch), lock, after);
  return CUDA_SUCCESS;
}

// "If the executable graph is in-flight, it will not be terminated, but rather freed asynchronously on
// completion."
API cuGraphExecDestroy(CUgraphExec handle) {
  ENTER(kInit | kContext);
  auto exec = reinterpret_cast<GraphExec*>(handle);
  if (CUresult code = known(context->graph_execs, exec, "executable graph")) return code;
  context->graph_execs.erase(exec);
  exec->nodes = nullptr;
  return CUDA_SUCCESS;
}
