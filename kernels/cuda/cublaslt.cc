#include "kernels/cuda/cublaslt.h"

#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/core/device_runtime.h"
#include "kernels/cuda/cublaslt_library.h"
#include "kernels/cuda/cuda_error.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/ops/implementations.h"
#include "kernels/ops/op_table.h"
#include "kernels/ops/product.h"

namespace frugal::cu {
namespace {

constexpr int kProposals = 8;       // algorithms that are timed
constexpr int kTimedRuns = 5;       // of each, after one that is not
constexpr int kFirstBf16Card = 80;  // compute capability

// cuBLASLt on one GPU. Thread-safe.
class Multiplier {
 public:
  Multiplier(std::unique_ptr<CublasLt> library, const DeviceInfo& info)
      : library_(std::move(library)),
        capability_(info.capability),
        name_(concat(info.name, "; cuBLASLt ", library_->version())) {}

  int capability() const { return capability_; }
  std::string key(const Product& p) const { return concat(name_, "; ", text_of(p)); }

  // Null where cuBLASLt has none.
  const cublasLtMatmulAlgo_t* algorithm(const Product& p) {
    const std::lock_guard lock(mutex_);
    auto found = algorithms_.find(p);
    if (found == algorithms_.end()) {
      const auto proposed = library_->propose(p, 1);
      found =
          algorithms_.emplace(p, proposed.empty() ? std::nullopt : std::optional(proposed.front()))
              .first;
    }
    return found->second ? &*found->second : nullptr;
  }
  void set_algorithm(const Product& p, const cublasLtMatmulAlgo_t& algorithm) {
    const std::lock_guard lock(mutex_);
    algorithms_.insert_or_assign(p, algorithm);
  }
  std::vector<cublasLtMatmulAlgo_t> proposals(const Product& p) const {
    return library_->propose(p, kProposals);
  }
  cublasStatus_t run(CudaStream& stream, const Product& p, const Operands& at,
                     const cublasLtMatmulAlgo_t& algorithm) const {
    return library_->enqueue(stream, p, at, algorithm);
  }
  void check(cublasStatus_t status, const Product& p) const { library_->check(status, text_of(p)); }

 private:
  std::unique_ptr<CublasLt> library_;
  int capability_;
  std::string name_;
  std::mutex mutex_;
  std::map<Product, std::optional<cublasLtMatmulAlgo_t>> algorithms_;
};

// Null without the library. Lives on: the driver may be gone when statics end.
Multiplier* multiplier(Device device) {
  static std::mutex mutex;
  static std::map<int, Multiplier*> all;
  const std::lock_guard lock(mutex);
  const auto [own, added] = all.try_emplace(device.index, nullptr);
  if (added) {
    const DeviceInfo info = device_runtime(device.type).info(device);  // the thread's GPU now
    auto library = CublasLt::open();
    if (library != nullptr) {
      own->second = new Multiplier(std::move(library), info);  // NOLINT(*-owning-memory)
    }
  }
  return own->second;
}

const char* declines(const Multiplier& m, const Product& p) {
  if (p.m == 0 || p.n == 0 || p.k == 0) return "a size is 0";
  if (p.in == DType::kBF16 && m.capability() < kFirstBf16Card) return "the card has no bf16";
  if (p.out != p.in && p.out != DType::kF32) return "the result has another type";
  if (p.bias && p.out != p.in) return "the bias has another type than the result";
  if (p.gelu != GeluUse::kNone && p.out == DType::kF32) {
    return "GELU in f32, of which the library does not say how exact it is";
  }
  return nullptr;
}

// As text: two hexadecimal digits a byte. NVIDIA lets the structure be stored and used again with
// the same version of the library.
std::string to_text(const cublasLtMatmulAlgo_t& algorithm) {
  std::array<unsigned char, sizeof algorithm> bytes;
  std::memcpy(bytes.data(), &algorithm, sizeof algorithm);
  constexpr const char* kDigits = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : bytes) {
    out += kDigits[byte >> 4U];
    out += kDigits[byte & 15U];
  }
  return out;
}

std::optional<cublasLtMatmulAlgo_t> from_text(const std::string& text) {
  std::array<unsigned char, sizeof(cublasLtMatmulAlgo_t)> bytes{};
  if (text.size() != 2 * bytes.size()) return std::nullopt;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool letter = c >= 'a' && c <= 'f';
    if (!letter && (c < '0' || c > '9')) return std::nullopt;
    const int digit = letter ? c - 'a' + 10 : c - '0';
    bytes[i / 2] = static_cast<unsigned char>(bytes[i / 2] * 16 + digit);
  }
  cublasLtMatmulAlgo_t algorithm;
  std::memcpy(&algorithm, bytes.data(), bytes.size());
  return algorithm;
}

// Times products on random operands.
class Timer {
 public:
  explicit Timer(Device device) : stream_(device) {
    cu::check(cudaEventCreate(&begin_), "an event");
    cu::check(cudaEventCreate(&end_), "an event");
  }
  ~Timer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // The fastest, of the first when several are; nothing when none works.
  std::optional<cublasLtMatmulAlgo_t> fastest(const Multiplier& m, const Product& p) {
    const Memory a(stream_, p.in, p.m * p.k, 1), b(stream_, p.in, p.k * p.n, 2);
    const Memory bias(stream_, p.in, p.bias ? p.n : 0, 3), out(stream_, p.out, p.m * p.n, 4);
    const Memory add(stream_, p.out, p.add ? p.m * p.n : 0, 5);
    const Memory gelu(stream_, p.out, p.gelu != GeluUse::kNone ? p.m * p.n : 0, 6);
    const Operands at{a.data, b.data, bias.data, add.data, gelu.data, out.data};
    std::optional<cublasLtMatmulAlgo_t> best;
    float best_time = 0.0F;
    for (const cublasLtMatmulAlgo_t& candidate : m.proposals(p)) {
      const float time = milliseconds(m, p, at, candidate);
      if (time < 0.0F || (best && time >= best_time)) continue;
      best = candidate;
      best_time = time;
    }
    return best;
  }

 private:
  struct Memory {
    Memory(CudaStream& stream, DType dtype, std::int64_t elements, std::uint64_t key) {
      if (elements == 0) return;
      cu::check(cudaMalloc(&data, static_cast<std::size_t>(elements) * size_of(dtype)),
                "memory to time products in");
      cu::normal_fill(
          stream, {.out_RC = {static_cast<std::byte*>(data), {1, elements}, dtype, stream.device()},
                   .key = key,
                   .global_columns = elements,
                   .stddev = 0.1F});
    }
    ~Memory() { cudaFree(data); }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    void* data = nullptr;
  };

  // Of one product, the fastest of some runs; negative when it does not run.
  float milliseconds(const Multiplier& m, const Product& p, const Operands& at,
                     const cublasLtMatmulAlgo_t& algorithm) {
    const auto stream = static_cast<cudaStream_t>(stream_.native_handle());
    float best = -1.0F;
    for (int run = 0; run <= kTimedRuns; ++run) {
      cu::check(cudaEventRecord(begin_, stream), "an event");
      if (m.run(stream_, p, at, algorithm) != CUBLAS_STATUS_SUCCESS) return -1.0F;
      cu::check(cudaEventRecord(end_, stream), "an event");
      cu::check(cudaEventSynchronize(end_), "timing a product");
      float time = 0.0F;
      cu::check(cudaEventElapsedTime(&time, begin_, end_), "timing a product");
      if (run > 0 && (best < 0.0F || time < best)) best = time;
    }
    return best;
  }

  CudaStream stream_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace

const char* cublaslt_declines(Stream& stream, const MatmulArgs& args) {
  Multiplier* m = multiplier(stream.device());
  if (m == nullptr) {
    say_once(
        "products: without cuBLASLt, on slow kernels of our own: neither libcublasLt.so.13 nor "
        "libcublasLt.so.12 is found; LD_LIBRARY_PATH may name its folder");
    return "the library is missing";
  }
  const Product p = product_of(args);
  if (const char* why = declines(*m, p)) return why;
  return m->algorithm(p) == nullptr ? "cuBLASLt proposes no algorithm" : nullptr;
}

void cublaslt_matmul(Stream& stream, const MatmulArgs& args) {
  Multiplier& m = *multiplier(stream.device());
  const Product p = product_of(args);
  const void* gelu_input =
      given(args.gelu_input_MN) ? args.gelu_input_MN.data : args.dgelu_input_MN.data;
  const Operands at{args.a.data,      args.b.data, args.bias_N.data,
                    args.add_MN.data, gelu_input,  args.out_MN.data};
  m.check(m.run(static_cast<CudaStream&>(stream), p, at, *m.algorithm(p)), p);
}

void choose_algorithms(Device device, const std::set<Product>& products,
                       AlgorithmChoices& choices) {
  Multiplier* m = multiplier(device);
  if (m == nullptr) return;
  std::optional<Timer> timer;
  for (const Product& p : products) {
    if (declines(*m, p) != nullptr) continue;
    const std::string key = m->key(p);
    std::optional<cublasLtMatmulAlgo_t> algorithm;
    if (const auto known = choices.find(key); known != choices.end()) {
      algorithm = from_text(known->second);
    }
    if (!algorithm) {
      if (!timer) timer.emplace(device);
      algorithm = timer->fastest(*m, p);
    }
    if (!algorithm) continue;
    choices.insert_or_assign(key, to_text(*algorithm));
    m->set_algorithm(p, *algorithm);
  }
}

}  // namespace frugal::cu
