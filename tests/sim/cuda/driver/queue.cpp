// Streams as queues, and the three schedules that decide when queued work runs.
//
//   lazy      only when the host waits for it: a missing wait shows as data that never arrived
//   eager     at the call: what a plain mock does; it hides every such mistake
//   random:N  the device gets ahead of the host by steps drawn from seed N: data that was reused too early
//   shows
//
// A program whose synchronisation is right gives one answer under all of them.
#include <dlfcn.h>

#include <algorithm>

#include "world.h"

namespace sim {
namespace {

// pycuda keeps the GIL in calls that wait (cuMemFree), and work that another thread runs for us may need it.
// So whoever waits for another thread gives the GIL away. Found by name: the driver does not link Python.
class WithoutGil {
 public:
  WithoutGil() {
    auto initialised = symbol<int (*)()>("Py_IsInitialized");
    auto held = symbol<int (*)()>("PyGILState_Check");
    auto save = symbol<void* (*)()>("PyEval_SaveThread");
    restore_ = symbol<void (*)(void*)>("PyEval_RestoreThread");
    if (initialised && held && save && restore_ && initialised() && held()) state_ = save();
  }
  ~WithoutGil() {
    if (state_) restore_(state_);
  }

 private:
  template <typename Function>
  static Function symbol(const char* name) {
    return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
  }
  void* state_ = nullptr;
  void (*restore_)(void*) = nullptr;
};

void wait_until_done(const OperationPtr& operation, Lock& lock) {
  lock.unlock();
  {
    WithoutGil released;
    Lock waiting(world().mutex);
    world().operation_done.wait(waiting, [&] { return operation->state == State::kDone; });
  }
  lock.lock();
}

OperationPtr unfinished_before(const OperationPtr& operation) {
  OperationPtr front = operation->stream->queue.front();
  if (front != operation) return front;
  for (auto& other : operation->after)
    if (other->state != State::kDone) return other;
  return nullptr;
}

CUresult execute(const OperationPtr& operation, Lock& lock) {
  if (operation->context->sticky) return operation->context->sticky;  // a poisoned context runs nothing more
  if (CUresult code = injected_fault("async:" + operation->task.name))
    return operation->context->sticky = code;  // asked for by a test: no mistake to note
  if (!operation->task.calls_out) return operation->task.work();
  lock.unlock();
  in_host_function = true;
  CUresult code = operation->task.work();
  in_host_function = false;
  lock.lock();
  return code;
}

void finish(const OperationPtr& operation, CUresult code) {
  World& w = world();
  Context* context = operation->context;
  if (w.trace) fprintf(w.trace, "    ran %s -> %d\n", operation->task.name.c_str(), code), fflush(w.trace);
  if (code && !context->sticky) {
    context->sticky = code;
    note("async_error", operation->task.name + " gave " + std::to_string(code));
  }
  operation->done_at = Clock::now();
  operation->state = State::kDone;
  operation->task.work = nullptr;
  operation->after.clear();
  operation->stream->queue.pop_front();
  w.queued--;
  w.operation_done.notify_all();
}

}  // namespace

// Run one operation and everything it comes after, in this thread or by waiting for the thread that has begun
// it.
void run(OperationPtr operation, Lock& lock) {
  while (operation->state != State::kDone) {
    if (operation->state == State::kRunning) {
      wait_until_done(operation, lock);
    } else if (OperationPtr before = unfinished_before(operation)) {
      run(before, lock);
    } else {
      operation->state = State::kRunning;
      finish(operation, execute(operation, lock));
    }
  }
}

void drain(Stream* stream, Lock& lock) {
  if (!stream->queue.empty()) run(stream->queue.back(), lock);
}

void drain(Context* context, Lock& lock) {
  for (Stream* stream : context->all_streams()) {
    if (!stream->is_null && !context->streams.count(stream)) continue;  // went while the lock was free
    drain(stream, lock);
    // cuStreamDestroy: "resources [...] released automatically once the device has completed all work"
    if (stream->destroyed && stream->queue.empty()) context->streams.erase(stream);
  }
}

// The legacy NULL stream waits for every blocking stream and every blocking stream for it; streams created
// with CU_STREAM_NON_BLOCKING do neither ("Stream synchronization behavior").
OperationPtr enqueue(Stream* stream, Task task, Lock& lock, std::vector<OperationPtr> after) {
  World& w = world();
  auto operation = std::make_shared<Operation>();
  operation->task = std::move(task);
  operation->context = stream->context;
  operation->stream = stream;
  operation->after = std::move(after);
  if (stream->is_null) {
    for (Stream* other : stream->context->streams)
      if (other->blocking() && !other->queue.empty()) operation->after.push_back(other->queue.back());
  } else if (stream->blocking() && !stream->context->null_stream.queue.empty()) {
    operation->after.push_back(stream->context->null_stream.queue.back());
  }
  stream->queue.push_back(operation);
  w.queued++;
  w.stats["operations"]++;
  if (w.schedule == Schedule::kEager && !in_host_function) run(operation, lock);
  return operation;
}

void random_progress(Lock& lock) {
  World& w = world();
  if (w.schedule != Schedule::kRandom || in_host_function) return;
  while (w.queued && w.random() % 2) {
    std::vector<Stream*> busy;
    for (Context* context : w.contexts)
      for (Stream* stream : context->all_streams())
        if (!stream->queue.empty() && stream->queue.front()->state == State::kQueued) busy.push_back(stream);
    if (busy.empty()) return;
    std::sort(busy.begin(), busy.end(), [](Stream* a, Stream* b) { return a->id < b->id; });
    run(busy[w.random() % busy.size()]->queue.front(), lock);
  }
}

}  // namespace sim
