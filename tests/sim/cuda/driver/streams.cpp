// Streams and events: the calls that queue, order and wait.
#include "call.h"

namespace sim {

// A stream belongs to the context that was current when it was made ("Context management").
CUresult find_stream(Context* context, CUstream handle, Stream** stream) {
  if (handle == CU_STREAM_PER_THREAD) {
    note("unsupported", "the per-thread default stream");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  *stream = handle && handle != CU_STREAM_LEGACY ? reinterpret_cast<Stream*>(handle) : &context->null_stream;
  if (*stream == &context->null_stream) return CUDA_SUCCESS;
  if (context->streams.count(*stream) && !(*stream)->destroyed) return CUDA_SUCCESS;
  for (Context* other : world().contexts) {
    if (other == context || !other->streams.count(*stream)) continue;
    note("cross_context", "stream of another context");
    return CUDA_ERROR_INVALID_HANDLE;
  }
  note("bad_handle", "the stream is not alive");
  return CUDA_ERROR_INVALID_HANDLE;
}

namespace {

CUresult find_event(CUevent handle, Event** event) {
  *event = reinterpret_cast<Event*>(handle);
  for (Context* context : world().contexts)
    if (context->events.count(*event)) return CUDA_SUCCESS;
  note("bad_handle", "the event is not alive");
  return CUDA_ERROR_INVALID_HANDLE;
}

bool pending(const Event* event) { return event->operation && event->operation->state != State::kDone; }

// Polling ends: each query lets the device do one more thing.
CUresult query(Context* context, Stream* stream, Lock& lock) {
  run(stream->queue.front(), lock);
  return context->sticky ? context->sticky : CUDA_ERROR_NOT_READY;
}

Task marker(const char* name) {
  return {name, [] { return CUDA_SUCCESS; }};
}

}  // namespace
}  // namespace sim

using namespace sim;

API cuStreamCreate(CUstream* handle, unsigned flags) {
  ENTER(kInit | kContext);
  auto stream = new Stream;
  stream->context = context;
  stream->id = ++world().next_id;
  stream->flags = flags;
  context->streams.insert(stream);
  *handle = reinterpret_cast<CUstream>(stream);
  return CUDA_SUCCESS;
}

// "In case the device is still doing work in the stream [...] the function will return immediately": legal,
// but a program that closes in order has waited before.
API cuStreamDestroy(CUstream handle) {
  ENTER(kInit | kContext);
  Stream* stream;
  if (CUresult code = find_stream(context, handle, &stream)) return code;
  if (stream->is_null) return CUDA_ERROR_INVALID_HANDLE;
  leave_capture(stream);
  if (stream->queue.empty()) {
    context->streams.erase(stream);
  } else {
    note("destroyed_with_pending",
         "stream with " + std::to_string(stream->queue.size()) + " operations queued");
    stream->destroyed = true;
  }
  return CUDA_SUCCESS;
}

API cuStreamSynchronize(CUstream handle) {
  ENTER(kInit | kContext | kUnsafeInCapture);
  Stream* stream;
  if (CUresult code = find_stream(context, handle, &stream)) return code;
  if (CUresult code = refuse_waiting_for(stream, "cuStreamSynchronize")) return code;
  drain(stream, lock);
  return context->sticky;
}

API cuStreamQuery(CUstream handle) {
  ENTER(kInit | kContext | kUnsafeInCapture);
  Stream* stream;
  if (CUresult code = find_stream(context, handle, &stream)) return code;
  if (CUresult code = refuse_waiting_for(stream, "cuStreamQuery")) return code;
  return stream->queue.empty() ? context->sticky : query(context, stream, lock);
}

// "Makes all future work submitted to hStream wait for all work captured in hEvent": the last record at this
// moment, nothing when there was none.
API cuStreamWaitEvent(CUstream handle, CUevent event_handle, unsigned) {
  ENTER(kInit | kContext);
  Stream* stream;
  Event* event;
  if (CUresult code = find_stream(context, handle, &stream)) return code;
  if (CUresult code = find_event(event_handle, &event)) return code;
  if (stream->capture || event->capture) return capture_wait(stream, event);
  if (pending(event)) enqueue(stream, marker("WaitEvent"), lock, {event->operation});
  return CUDA_SUCCESS;
}

API cuEventCreate(CUevent* handle, unsigned flags) {
  ENTER(kInit | kContext);
  auto event = new Event{context, flags, nullptr, nullptr, {}};
  context->events.insert(event);
  *handle = reinterpret_cast<CUevent>(event);
  return CUDA_SUCCESS;
}

API cuEventDestroy(CUevent handle) {
  ENTER(kInit | kContext);
  Event* event;
  if (CUresult code = find_event(handle, &event)) return code;
  event->context->events.erase(event);
  return CUDA_SUCCESS;
}

API cuEventRecord(CUevent handle, CUstream stream_handle) {
  ENTER(kInit | kContext);
  Stream* stream;
  Event* event;
  if (CUresult code = find_event(handle, &event)) return code;
  if (CUresult code = find_stream(context, stream_handle, &stream)) return code;
  if (event->context != context) {  // "hEvent and hStream must be from the same context"
    note("cross_context", "event of another context");
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (stream->capture) return capture_event(stream, event);
  OperationPtr queued;
  if (CUresult code = submit(stream, marker("EventRecord"), lock, &queued)) return code;
  event->operation = queued;
  event->capture = nullptr;
  return CUDA_SUCCESS;
}

API cuEventSynchronize(CUevent handle) {
  ENTER(kInit | kContext | kUnsafeInCapture);
  Event* event;
  if (CUresult code = find_event(handle, &event)) return code;
  if (event->capture) return CUDA_ERROR_CAPTURED_EVENT;
  if (pending(event)) run(event->operation, lock);
  return context->sticky;
}

API cuEventQuery(CUevent handle) {
  ENTER(kInit | kContext | kUnsafeInCapture);
  Event* event;
  if (CUresult code = find_event(handle, &event)) return code;
  if (event->capture) return CUDA_ERROR_CAPTURED_EVENT;
  return pending(event) ? query(context, event->operation->stream, lock) : context->sticky;
}

API cuEventElapsedTime(float* milliseconds, CUevent start_handle, CUevent end_handle) {
  ENTER(kInit | kContext);
  Event *start, *end;
  if (CUresult code = find_event(start_handle, &start)) return code;
  if (CUresult code = find_event(end_handle, &end)) return code;
  bool timed = !((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING);
  if (!timed || !start->operation || !end->operation) return CUDA_ERROR_INVALID_HANDLE;
  if (pending(start) || pending(end)) return CUDA_ERROR_NOT_READY;
  std::chrono::duration<float, std::milli> elapsed = end->operation->done_at - start->operation->done_at;
  *milliseconds = elapsed.count();
  return CUDA_SUCCESS;
}
