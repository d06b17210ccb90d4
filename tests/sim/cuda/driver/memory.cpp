// Memory: device, pinned, mapped, registered.
//
// A device address is a place in a reserved, inaccessible range: numpy or ctypes touching it gets SIGSEGV, as
// on the board; it is handed out once, so a stale one is always known. The bytes are elsewhere, filled with
// 0xCB when allocated (CUDA promises no zeros), followed by canary bytes and a guard page.
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "call.h"

namespace sim {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kGrain = 256;                    // cuMemAlloc: "suitably aligned for any kind of variable"
constexpr size_t kDeviceSpace = size_t(1) << 40;  // addresses only, no memory
constexpr unsigned char kFill = 0xCB, kCanary = 0xFD;

size_t round_up(size_t size, size_t grain) { return (size + grain - 1) / grain * grain; }

char* reserve(size_t size) {
  void* start = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return start == MAP_FAILED ? nullptr : static_cast<char*>(start);
}

char* take_device_addresses(size_t size) {
  World& w = world();
  if (!w.next_device_address) {
    char* start = reserve(kDeviceSpace);
    if (!start) return nullptr;
    w.next_device_address = start + kPage;
    w.device_space_end = start + kDeviceSpace;
  }
  size_t span = round_up(size, kPage) + kPage;
  if (w.next_device_address + span > w.device_space_end) return nullptr;
  char* taken = w.next_device_address;
  w.next_device_address += span;
  return taken;
}

// The last byte lies directly before a guard page, but for the canary that fills the grain.
bool map_bytes(Allocation& allocation) {
  size_t body = round_up(allocation.size, kGrain);
  allocation.mapped = round_up(body, kPage);
  allocation.mapping = reserve(allocation.mapped + 2 * kPage);
  if (!allocation.mapping) return false;
  mprotect(allocation.mapping + kPage, allocation.mapped, PROT_READ | PROT_WRITE);
  allocation.host = allocation.mapping + kPage + (allocation.mapped - body);
  memset(allocation.host, kFill, allocation.size);
  memset(allocation.host + allocation.size, kCanary, body - allocation.size);
  return true;
}

// Pinned and device memory are one store on an integrated GPU, so both count against it.
CUresult allocate(Context* context, Kind kind, size_t size, unsigned flags, AllocationPtr* made,
                  void* callers_own = nullptr) {
  World& w = world();
  if (!size) return CUDA_ERROR_INVALID_VALUE;  // "If bytesize is 0, cuMemAlloc() returns [...]"
  auto allocation = std::make_shared<Allocation>(Allocation{kind, context, size, flags, ++w.next_id});
  if (kind == Kind::kRegistered) {
    allocation->host = static_cast<char*>(callers_own);
  } else if (w.used + round_up(size, kPage) > w.device.memory || !map_bytes(*allocation)) {
    w.stats["out_of_memory"]++;
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  allocation->device = take_device_addresses(size);
  if (!allocation->device) return CUDA_ERROR_OUT_OF_MEMORY;
  w.used += allocation->mapped;
  w.peak = std::max(w.peak, w.used);
  w.by_device[allocation->device] = allocation;
  if (kind != Kind::kDevice) w.by_host[allocation->host] = allocation;
  *made = allocation;
  return CUDA_SUCCESS;
}

// "May perform implicit synchronization": the simulated driver always does. To free while work is queued is
// noted, because a program that relies on it stalls, and is wrong with stream-ordered memory.
CUresult free_at(Context* context, const std::map<char*, AllocationPtr>& table, void* address, Kind kind,
                 Lock& lock) {
  auto entry = table.find(static_cast<char*>(address));
  AllocationPtr allocation = entry == table.end() ? nullptr : entry->second;
  if (!allocation || allocation->kind != kind) {
    note("bad_free", "the address is not the start of a live allocation of this kind");
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (allocation->context != context) {
    note("cross_context", "free of another context's memory");
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  if (!context->idle()) {
    note("free_with_pending", "allocation " + std::to_string(allocation->id) + " while work is queued");
    drain(context, lock);
  }
  if (allocation->live) release(allocation);  // another thread may have been faster while this one waited
  return CUDA_SUCCESS;
}

}  // namespace

CUresult refuse(const char* kind, const void* address, size_t size, const std::string& why) {
  char where[64];
  snprintf(where, sizeof where, "%p+%zu ", address, size);
  note(kind, where + why);
  return CUDA_ERROR_INVALID_VALUE;
}

AllocationPtr find(const std::map<char*, AllocationPtr>& table, const void* address) {
  auto after = table.upper_bound(static_cast<char*>(const_cast<void*>(address)));
  if (after == table.begin()) return nullptr;
  auto& [start, allocation] = *--after;
  return static_cast<const char*>(address) < start + allocation->size ? allocation : nullptr;
}

AllocationPtr pinned_at(const void* address, size_t size) {
  AllocationPtr allocation = find(world().by_host, address);
  bool inside = allocation && static_cast<const char*>(address) + size <= allocation->host + allocation->size;
  return inside ? allocation : nullptr;
}

// The bytes behind a range of device addresses; refused unless all of it is one live allocation of this
// context.
CUresult resolve(Context* context, CUdeviceptr address, size_t size, AllocationPtr* owner, char** bytes) {
  char* start = reinterpret_cast<char*>(address);
  AllocationPtr allocation = find(world().by_device, start);
  if (!allocation) {
    bool host = find(world().by_host, start) != nullptr;
    return refuse("bad_address", start, size,
                  host ? "is a host address: cuMemHostGetDevicePointer gives the device's"
                       : "is not device memory, or was freed");
  }
  if (allocation->context != context)
    return refuse("cross_context", start, size, "is another context's memory");
  if (start + size > allocation->device + allocation->size)
    return refuse("out_of_bounds", start, size,
                  "passes the end of its allocation of " + std::to_string(allocation->size) + " bytes");
  *bytes = allocation->host + (start - allocation->device);
  if (owner) *owner = allocation;
  return CUDA_SUCCESS;
}

bool overrun(const Allocation& allocation) {
  if (!allocation.mapping) return false;
  const char* end = allocation.host + round_up(allocation.size, kGrain);
  return std::any_of(allocation.host + allocation.size, const_cast<char*>(end),
                     [](char byte) { return static_cast<unsigned char>(byte) != kCanary; });
}

void release(AllocationPtr allocation) {
  World& w = world();
  allocation->live = false;
  w.by_device.erase(allocation->device);
  w.by_host.erase(allocation->host);
  if (overrun(*allocation))
    note("overrun", "bytes after allocation " + std::to_string(allocation->id) + " of " +
                        std::to_string(allocation->size) + " were written");
  // The bytes go, their addresses stay taken: whoever still holds the array gets SIGSEGV, not another's data.
  if (allocation->mapping)
    mmap(allocation->mapping, allocation->mapped + 2 * kPage, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  w.used -= allocation->mapped;
}

}  // namespace sim

using namespace sim;

static CUresult as_device(CUresult result, const AllocationPtr& made, CUdeviceptr* address) {
  if (!result) *address = reinterpret_cast<CUdeviceptr>(made->device);
  return result;
}

API cuMemGetInfo(size_t* available, size_t* total) {
  ENTER(kInit | kContext);
  *total = world().device.memory;
  *available = *total - world().used;
  return CUDA_SUCCESS;
}

API cuMemAlloc(CUdeviceptr* address, size_t size) {
  ENTER(kInit | kContext | kUnsafeInCapture);
  AllocationPtr made;
  return as_device(allocate(context, Kind::kDevice, size, 0, &made), made, address);
}

API cuMemFree(CUdeviceptr address) {
  ENTER(kInit | kContext | kUnsafeInCapture);
  if (!address) return CUDA_SUCCESS;
  return free_at(context, world().by_device, reinterpret_cast<void*>(address), Kind::kDevice, lock);
}

API cuMemHostAlloc(void** address, size_t size, unsigned flags) {
  ENTER(kInit | kContext | kUnsafeInCapture);
  AllocationPtr made;
  CUresult result = allocate(context, Kind::kPinned, size, flags, &made);
  if (!result) *address = made->host;
  return result;
}

API cuMemFreeHost(void* address) {
  ENTER(kInit | kContext | kUnsafeInCapture);
  return free_at(context, world().by_host, address, Kind::kPinned, lock);
}

API cuMemHostRegister(void* address, size_t size, unsigned flags) {
  ENTER(kInit | kContext | kUnsafeInCapture);
  if (pinned_at(address, 1)) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  AllocationPtr made;
  return allocate(context, Kind::kRegistered, size, flags, &made, address);
}

API cuMemHostUnregister(void* address) {
  ENTER(kInit | kContext | kUnsafeInCapture);
  if (!world().by_host.count(static_cast<char*>(address))) return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  return free_at(context, world().by_host, address, Kind::kRegistered, lock);
}

// It "will fail if the CU_MEMHOSTALLOC_DEVICEMAP flag was not specified at the time the memory was
// allocated". The address "may or may not match the original host pointer"; here it never does, so nobody
// gets used to it.
API cuMemHostGetDevicePointer(CUdeviceptr* address, void* host, unsigned) {
  ENTER(kInit | kContext);
  AllocationPtr allocation = pinned_at(host, 1);
  static_assert(CU_MEMHOSTALLOC_DEVICEMAP == CU_MEMHOSTREGISTER_DEVICEMAP, "one test for both kinds");
  if (!allocation || !(allocation->flags & CU_MEMHOSTALLOC_DEVICEMAP)) {
    note("bad_address", "not mapped memory: it was pinned without DEVICEMAP, or not at all");
    return CUDA_ERROR_INVALID_VALUE;
  }
  *address =
      reinterpret_cast<CUdeviceptr>(allocation->device + (static_cast<char*>(host) - allocation->host));
  return CUDA_SUCCESS;
}
