// The simulated device: what exists, what is queued, what went wrong.
//
// One mutex guards the whole world, and every driver call takes it (call.h). The names of things are CUDA's
// own: contexts own memory, streams and events; a stream is a queue of operations; nothing runs until the
// schedule says so.
#ifndef EDGEYOLO_SIM_WORLD_H
#define EDGEYOLO_SIM_WORLD_H

#include <cuda.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace sim {

using Lock = std::unique_lock<std::mutex>;
using Clock = std::chrono::steady_clock;
using Work = std::function<CUresult()>;

struct Capture;
struct Context;
struct Operation;
struct Stream;
using OperationPtr = std::shared_ptr<Operation>;
using CapturePtr = std::shared_ptr<Capture>;

// ---- memory -----------------------------------------------------------------------------------------------

enum class Kind { kDevice, kPinned, kRegistered };

struct Allocation {
  Kind kind;
  Context* context;
  size_t size;
  unsigned flags;
  long id;
  char* device = nullptr;   // the address that device work uses; the host faults when it touches it
  char* host = nullptr;     // where the bytes can be read and written
  char* mapping = nullptr;  // what lies behind `host`; null for memory that is the caller's own
  size_t mapped = 0;        // bytes of the mapping between its two guard pages
  bool live = true;
};
using AllocationPtr = std::shared_ptr<Allocation>;

// ---- queued work ------------------------------------------------------------------------------------------

enum class State { kQueued, kRunning, kDone };

// What an operation does. One that calls out runs the caller's code (it may need Python's GIL), so it runs
// with the world unlocked.
struct Task {
  std::string name;
  Work work;
  bool calls_out = false;
};

struct Operation {
  Task task;
  Context* context;
  Stream* stream;
  std::vector<OperationPtr> after;  // beside everything before it in its own stream
  State state = State::kQueued;
  Clock::time_point done_at;
};

// Streams, events and graphs that were destroyed are not deleted: their handles never come back, so a stale
// one is always known as such.
struct Stream {
  Context* context;
  long id = 0;
  unsigned flags = 0;
  bool is_null = false;    // the legacy NULL stream
  bool destroyed = false;  // by its owner, while work was still queued
  std::deque<OperationPtr> queue;
  CapturePtr capture;                // set while the stream is being captured
  std::vector<size_t> capture_tail;  // nodes that the stream's next captured work comes after
  bool blocking() const { return !is_null && !(flags & CU_STREAM_NON_BLOCKING); }
};

struct Event {
  Context* context;
  unsigned flags;
  OperationPtr operation;  // the last record, null before the first
  CapturePtr capture;      // set where the last record was inside a capture
  std::vector<size_t> capture_nodes;
};

// ---- graphs -----------------------------------------------------------------------------------------------

struct Node {
  Task task;
  std::vector<size_t> after;
};

struct Capture {
  Context* context;
  Stream* origin;
  CUstreamCaptureMode mode;
  std::thread::id thread;
  std::vector<Node> nodes;
  bool invalidated = false;
  bool ended = false;
};

struct Graph {
  std::vector<Node> nodes;
};

struct GraphExec {
  std::shared_ptr<const std::vector<Node>> nodes;  // a launch in flight keeps them alive
  OperationPtr last_launch;
};

// ---- everything -------------------------------------------------------------------------------------------

struct Context {
  CUdevice device;
  bool primary = false;
  bool alive = true;
  int references = 1;
  CUresult sticky = CUDA_SUCCESS;  // an error of device work: every later call gives it again
  Stream null_stream;
  std::set<Stream*> streams;
  std::set<Event*> events;
  std::set<Graph*> graphs;
  std::set<GraphExec*> graph_execs;
  std::vector<Stream*> all_streams();
  bool idle();
};

enum class Schedule { kLazy, kEager, kRandom };

struct Fault {
  std::string call;
  long nth;
  CUresult code;
  long count;
};

struct Device {
  std::string name = "Simulated Orin";
  size_t memory = size_t(4) << 30;
  int count = 1;
  int compute_capability = 87;
  int driver_version = 12060;  // JetPack 6.1 and later
  std::map<int, int> attributes;
};

struct World {
  std::mutex mutex;
  std::condition_variable operation_done;
  bool initialised = false;
  Device device;
  std::set<Context*>
      contexts;  // alive; a destroyed one is never deleted, so that a stale handle is known as such
  std::set<Context*> forgotten;  // of failed tests: pycuda may yet clean up in them, which is let pass
  std::map<CUdevice, Context*> primary;
  std::map<char*, AllocationPtr> by_device, by_host;
  std::set<CapturePtr> captures;  // running ones
  Schedule schedule = Schedule::kLazy;
  std::mt19937 random;
  std::vector<Fault> faults;
  std::map<std::string, long> stats;
  std::vector<std::string> notes;
  size_t used = 0, peak = 0, queued = 0;
  long next_id = 0;
  char *next_device_address = nullptr, *device_space_end = nullptr;
  FILE* trace = nullptr;
  std::string report_path;
};

World& world();
extern thread_local std::vector<Context*> context_stack;
extern thread_local bool in_host_function;
extern thread_local CUstreamCaptureMode interaction_mode;

// world.cpp: a mistake of the program under test, counted by kind and kept in words
void note(const std::string& kind, const std::string& text);
CUresult injected_fault(const std::string& call);
std::string report();
bool set_schedule(const std::string& text);

// queue.cpp
void run(OperationPtr operation, Lock& lock);
void drain(Stream* stream, Lock& lock);
void drain(Context* context, Lock& lock);
OperationPtr enqueue(Stream* stream, Task task, Lock& lock, std::vector<OperationPtr> after = {});
void random_progress(Lock& lock);

// memory.cpp
AllocationPtr find(const std::map<char*, AllocationPtr>& table, const void* address);
CUresult refuse(const char* kind, const void* address, size_t size, const std::string& why);
CUresult resolve(Context* context, CUdeviceptr address, size_t size, AllocationPtr* owner, char** bytes);
AllocationPtr pinned_at(const void* address, size_t size);
bool overrun(const Allocation& allocation);
void release(AllocationPtr allocation);

// streams.cpp, context.cpp
CUresult find_stream(Context* context, CUstream handle, Stream** stream);
void destroy(Context* context, bool quietly, Lock& lock);

// graphs.cpp: work for a stream, which is queued, or becomes a node of the graph that is being captured
CUresult submit(Stream* stream, Task task, Lock& lock, OperationPtr* queued = nullptr);
void invalidate(const CapturePtr& capture, const std::string& why);
CUresult refuse_unsafe_call(const std::string& call);
CUresult refuse_waiting_for(Stream* stream, const char* call);
CUresult capture_event(Stream* stream, Event* event);
CUresult capture_wait(Stream* stream, Event* event);
void leave_capture(Stream* stream);

}  // namespace sim
#endif
