#include "trainer/engine/load_runs.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "kernels/core/arena.h"
#include "kernels/core/threads.h"
#include "kernels/ops/elementwise.h"
#include "trainer/checkpoint/weight_set.h"

namespace frugal {
namespace {

constexpr int kMostReaders = 4;
// In place: what a reader takes at once. Readers of one file go through it side by side then, which
// the system reads ahead of; with 16 MiB it does not, and two reach half the speed of one.
constexpr std::int64_t kPartBytes = std::int64_t{2} << 20;

// Part of a run, and where it is read to.
struct Part {
  TensorRun run;  // local: the final place
  Tensor host;    // where it is read
};

// Runs of at most so many bytes each.
std::vector<Part> parts_of(std::span<const TensorRun> runs, std::int64_t most_bytes) {
  std::vector<Part> out;
  for (const TensorRun& run : runs) {
    const std::int64_t most = most_bytes / static_cast<std::int64_t>(size_of(run.local.dtype));
    for (std::int64_t begin = run.begin; begin < run.end; begin += most) {
      TensorRun part = run;
      part.begin = begin;
      part.end = std::min(run.end, begin + most);
      part.local = run.local.slice(part.begin - run.begin, part.end - run.begin);
      out.push_back({part, part.local});
    }
  }
  return out;
}

// Every part once, by so many threads; rethrows the first failure.
void read_all(std::span<const Part> parts, const SliceReader& read, int readers) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;
  const auto work = [&] {
    try {
      for (std::size_t i = next++; i < parts.size(); i = next++) {
        TensorRun run = parts[i].run;
        run.local = parts[i].host;
        for (const TensorSlice& slice : slices_of_run(run)) read(slice);
      }
    } catch (...) {
      next = parts.size();
      const std::lock_guard lock(mutex);
      if (failure == nullptr) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    try {
      for (int r = 1; r < readers; ++r) threads.emplace_back(work);
    } catch (const std::system_error&) {
      // As many as the system allows; this one reads in any case.
    }
    work();
  }
  if (failure != nullptr) std::rethrow_exception(failure);
}

}  // namespace

std::vector<TensorRun> weight_runs(const ParamStore& params, std::span<const ParamId> ids) {
  std::vector<TensorRun> out;
  for (const ParamId id : ids) {
    const ParamSpec& spec = params.entry(id).spec;
    const std::int64_t count = spec.valid.numel();  // its first rows; the others stay 0
    if (params.entry(id).tied_to >= 0 || count == 0) continue;
    const Tensor weight = params.weight(id);
    out.push_back({.name = spec.name,
                   .global = spec.global,
                   .offset = spec.offset,
                   .extent = spec.valid,
                   .begin = 0,
                   .end = count,
                   .local = weight.reshape({weight.numel()}).slice(0, count)});
  }
  return out;
}

void load_runs(std::span<const TensorRun> runs, const SliceReader& read, Stream& stream,
               const Tensor& staging) {
  const int readers = std::min(kMostReaders, compute_threads());
  if (on_host(stream.device())) {
    read_all(parts_of(runs, kPartBytes), read, readers);
    return;
  }
  const std::int64_t share = staging.numel() / readers / static_cast<std::int64_t>(kAlignment) *
                             static_cast<std::int64_t>(kAlignment);
  std::vector<Part> parts = parts_of(runs, share);
  for (std::size_t first = 0; first < parts.size(); first += static_cast<std::size_t>(readers)) {
    const std::size_t count = std::min(parts.size() - first, static_cast<std::size_t>(readers));
    const std::span<Part> group = std::span(parts).subspan(first, count);
    for (std::size_t i = 0; i < count; ++i) {
      const Tensor& to = group[i].run.local;
      group[i].host = {staging.data + static_cast<std::int64_t>(i) * share, to.shape, to.dtype, {}};
    }
    read_all(group, read, readers);
    for (const Part& part : group) ops::copy(stream, part.run.local, part.host);
    stream.synchronize();
  }
}

SliceReader weights_of(const CheckpointReader& reader) {
  std::map<std::string, DType> stored;
  for (const auto& entry : reader.tensors()) stored.emplace(entry.name, entry.dtype);
  return [&reader, stored = std::move(stored)](const TensorSlice& slice) {
    TensorSlice master = slice;
    master.name = std::string(kWeightKind) + slice.name;
    const auto found = stored.find(master.name);
    if (found == stored.end() || found->second == slice.local.dtype) return reader.read(master);
    const DType dtype = found->second;
    std::vector<std::byte> buffer(static_cast<std::size_t>(slice.local.numel()) * size_of(dtype));
    master.local = {buffer.data(), slice.local.shape, dtype, {}};
    reader.read(master);
    visit_float(dtype, [&]<class From>() {
      visit_float(slice.local.dtype, [&]<class To>() {
        const From* from = master.local.as<From>();
        std::transform(from, from + master.local.numel(), slice.local.as<To>(),
                       [](From x) { return To(static_cast<float>(x)); });
      });
    });
  };
}

}  // namespace frugal
