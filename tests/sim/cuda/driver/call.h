// How every driver entry point starts: take the world's lock, count the call, fail it if a test asked for
// that, and check what it needs. `ENTER` gives the names `lock` and `context` and returns the error of a
// refused call.
#ifndef EDGEYOLO_SIM_CALL_H
#define EDGEYOLO_SIM_CALL_H

#include "world.h"

#define API extern "C" __attribute__((visibility("default"))) CUresult CUDAAPI
#define CONTROL extern "C" __attribute__((visibility("default")))

namespace sim {

enum Needs : unsigned {
  kNothing = 0,
  kInit = 1,             // cuInit was called
  kContext = 2,          // a living, healthy context is current in this thread
  kUnsafeInCapture = 4,  // a call that stream capture cannot observe: see cuThreadExchangeStreamCaptureMode
};

struct Call {
  Lock lock;
  bool over = false;  // answered already, with `error`
  CUresult error;
  Context* context = nullptr;
  Call(const char* function, unsigned needs);

 private:
  CUresult enter(const std::string& name, unsigned needs);
  CUresult check_context(const std::string& name, unsigned needs);
};

}  // namespace sim

#define ENTER_AS(name, needs)            \
  sim::Call call_(name, needs);          \
  if (call_.over) return call_.error;    \
  sim::Lock& lock = call_.lock;          \
  sim::Context* context = call_.context; \
  (void)lock, (void)context
#define ENTER(needs) ENTER_AS(__func__, needs)

#endif
