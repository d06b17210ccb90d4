// Copies and fills between host and device, in order of their stream ("API synchronization behavior" of the
// manual).
//
// Pinned memory is read or written when the copy runs; a host that reuses it earlier changes what is copied.
// Pageable memory is staged: read at the call when it is the source, waited for when it is the target. In the
// asynchronous calls that is a lost overlap, and it is noted.
#include <cstring>

#include "call.h"

namespace sim {
namespace {

struct Side {
  bool on_device;
  char* bytes;  // host address; for device memory known once it is resolved
  CUdeviceptr address;
  AllocationPtr owner;  // of device or pinned memory; null for pageable
  bool pageable() const { return !on_device && !owner; }
};

Side device_side(CUdeviceptr address) { return {true, nullptr, address, nullptr}; }

Side host_side(const void* bytes, size_t size) {
  return {false, static_cast<char*>(const_cast<void*>(bytes)), 0, pinned_at(bytes, size)};
}

CUresult locate(Context* context, Side& side, size_t size) {
  if (side.on_device) return resolve(context, side.address, size, &side.owner, &side.bytes);
  if (side.pageable() && find(world().by_host, side.bytes))
    return refuse("out_of_bounds", side.bytes, size, "passes the end of its pinned allocation");
  return CUDA_SUCCESS;
}

bool gone(const AllocationPtr& owner) { return owner && !owner->live; }

Work copy_work(const Side& to, const Side& from, size_t size) {
  auto staged = std::make_shared<std::string>();
  if (from.pageable()) staged->assign(from.bytes, size);
  return [=] {
    if (gone(to.owner) || gone(from.owner)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    memmove(to.bytes, from.pageable() ? staged->data() : from.bytes, size);
    return CUDA_SUCCESS;
  };
}

struct Request {
  const char* name;
  Side to, from;
  size_t size;
  CUstream stream;
  bool asynchronous;
};

CUresult copy(Context* context, Request request, Lock& lock) {
  Stream* stream;
  if (CUresult code = find_stream(context, request.stream, &stream)) return code;
  if (!request.size) return CUDA_SUCCESS;
  if (CUresult code = locate(context, request.to, request.size)) return code;
  if (CUresult code = locate(context, request.from, request.size)) return code;
  bool pageable = request.to.pageable() || request.from.pageable();
  if (pageable && request.asynchronous)
    note("pageable_async", std::string(request.name) + ": not pinned, so not asynchronous");
  // A graph would keep an address that the driver does not know to be valid when it is launched.
  if (pageable && stream->capture) {
    invalidate(stream->capture, std::string(request.name) + " of pageable memory");
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  world().stats["bytes_copied"] += request.size;
  OperationPtr queued;
  Task task{request.name, copy_work(request.to, request.from, request.size)};
  if (CUresult code = submit(stream, std::move(task), lock, &queued)) return code;
  if (queued && (!request.asynchronous || request.to.pageable())) {
    run(queued, lock);
    return context->sticky;
  }
  return CUDA_SUCCESS;
}

struct Pattern {
  unsigned value;
  size_t width;
};

CUresult fill(Context* context, CUdeviceptr address, Pattern pattern, size_t count, CUstream handle,
              Lock& lock) {
  Stream* stream;
  char* bytes;
  AllocationPtr owner;
  if (CUresult code = find_stream(context, handle, &stream)) return code;
  if (address % pattern.width)
    return CUDA_ERROR_INVALID_VALUE;  // cuMemsetD32: "dstDevice [...] must be four byte aligned"
  if (CUresult code = resolve(context, address, count * pattern.width, &owner, &bytes)) return code;
  Work work = [=] {
    if (gone(owner)) return CUDA_ERROR_ILLEGAL_ADDRESS;
    for (size_t i = 0; i < count; i++) memcpy(bytes + i * pattern.width, &pattern.value, pattern.width);
    return CUDA_SUCCESS;
  };
  return submit(stream, {"Memset", work}, lock);
}

}  // namespace
}  // namespace sim

using namespace sim;

API cuMemcpyHtoD(CUdeviceptr to, const void* from, size_t size) {
  ENTER(kInit | kContext);
  return copy(context, {"HtoD", device_side(to), host_side(from, size), size, nullptr, false}, lock);
}

API cuMemcpyDtoH(void* to, CUdeviceptr from, size_t size) {
  ENTER(kInit | kContext);
  return copy(context, {"DtoH", host_side(to, size), device_side(from), size, nullptr, false}, lock);
}

// "For transfers from device memory to device memory, no host-side synchronization is performed."
API cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t size) {
  ENTER(kInit | kContext);
  return copy(context, {"DtoD", device_side(to), device_side(from), size, nullptr, true}, lock);
}

API cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, size_t size, CUstream stream) {
  ENTER(kInit | kContext);
  return copy(context, {"HtoDAsync", device_side(to), host_side(from, size), size, stream, true}, lock);
}

API cuMemcpyDtoHAsync(void* to, CUdeviceptr from, size_t size, CUstream stream) {
  ENTER(kInit | kContext);
  return copy(context, {"DtoHAsync", host_side(to, size), device_side(from), size, stream, true}, lock);
}

API cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
  ENTER(kInit | kContext);
  return copy(context, {"DtoDAsync", device_side(to), device_side(from), size, stream, true}, lock);
}

// Fills are asynchronous to the host, those without "Async" in the NULL stream.
API cuMemsetD8(CUdeviceptr address, unsigned char value, size_t count) {
  ENTER(kInit | kContext);
  return fill(context, address, {value, 1}, count, nullptr, lock);
}

API cuMemsetD16(CUdeviceptr address, unsigned short value, size_t count) {
  ENTER(kInit | kContext);
  return fill(context, address, {value, 2}, count, nullptr, lock);
}

API cuMemsetD32(CUdeviceptr address, unsigned value, size_t count) {
  ENTER(kInit | kContext);
  return fill(context, address, {value, 4}, count, nullptr, lock);
}

API cuMemsetD8Async(CUdeviceptr address, unsigned char value, size_t count, CUstream stream) {
  ENTER(kInit | kContext);
  return fill(context, address, {value, 1}, count, stream, lock);
}

API cuMemsetD16Async(CUdeviceptr address, unsigned short value, size_t count, CUstream stream) {
  ENTER(kInit | kContext);
  return fill(context, address, {value, 2}, count, stream, lock);
}

API cuMemsetD32Async(CUdeviceptr address, unsigned value, size_t count, CUstream stream) {
  ENTER(kInit | kContext);
  return fill(context, address, {value, 4}, count, stream, lock);
}
