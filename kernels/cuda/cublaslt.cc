#include "kernels/cuda/cublaslt.h"

#include <cublasLt.h>

#include <array>
#include <cstring>
#include <mutex>
#include <optional>
#include <vector>

#include "kernels/core/device_runtime.h"
#include "kernels/core/shared_library.h"
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

#define FRUGAL_CUBLASLT_FUNCTIONS(F) \
  F(Create)                          \
  F(GetVersion)                      \
  F(GetStatusString)                 \
  F(Matmul)                          \
  F(MatmulAlgoGetHeuristic)          \
  F(MatmulDescCreate)                \
  F(MatmulDescDestroy)               \
  F(MatmulDescSetAttribute)          \
  F(MatmulPreferenceCreate)          \
  F(MatmulPreferenceDestroy)         \
  F(MatmulPreferenceSetAttribute)    \
  F(MatrixLayoutCreate)              \
  F(MatrixLayoutDestroy)

struct Library {
#define FRUGAL_FUNCTION(name) decltype(cublasLt##name)* name;
  FRUGAL_CUBLASLT_FUNCTIONS(FRUGAL_FUNCTION)
#undef FRUGAL_FUNCTION

  void check(cublasStatus_t status, const char* what) const {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    fail(ErrorKind::kInternal, "cuBLASLt: ", what, ": ", GetStatusString(status));
  }
};

// Null where the machine lacks it.
const Library* library() {
  static const std::optional<Library> opened = []() -> std::optional<Library> {
    constexpr std::array kNames{"libcublasLt.so.13", "libcublasLt.so.12"};
    std::string why;
    const auto file = SharedLibrary::open(kNames, why);
    if (file == nullptr) return std::nullopt;
    return Library{
#define FRUGAL_FUNCTION(name) .name = file->function<decltype(cublasLt##name)>("cublasLt" #name),
        FRUGAL_CUBLASLT_FUNCTIONS(FRUGAL_FUNCTION)
#undef FRUGAL_FUNCTION
    };
  }();
  return opened ? &*opened : nullptr;
}

cudaDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return CUDA_R_16BF;
    case DType::kF16:
      return CUDA_R_16F;
    default:
      return CUDA_R_32F;
  }
}

cublasLtEpilogue_t epilogue_of(const Product& p) {
  if (p.gelu == GeluUse::kDerivative) return CUBLASLT_EPILOGUE_DGELU;
  if (p.gelu == GeluUse::kForward) {
    return p.bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
  }
  return p.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

// cuBLASLt counts by columns: it is given out^T = op(b)^T op(a)^T, whose operands lie as ours do.
class Description {
 public:
  Description(const Library& lib, const Product& p) : lib_(lib) {
    const auto compute = p.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    lib.check(lib.MatmulDescCreate(&operation, compute, CUDA_R_32F), "an operation");
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(p));
    if (p.bias) set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(p.in));
    if (p.gelu != GeluUse::kNone) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.n);
    const auto layout = [&](cublasLtMatrixLayout_t& to, DType dtype, std::int64_t rows,
                            std::int64_t columns) {  // as cuBLASLt sees them
      lib.check(lib.MatrixLayoutCreate(&to, type_of(dtype), static_cast<std::uint64_t>(rows),
                                       static_cast<std::uint64_t>(columns), rows),
                "a layout");
    };
    layout(a, p.in, p.transpose_b ? p.k : p.n, p.transpose_b ? p.n : p.k);
    layout(b, p.in, p.transpose_a ? p.m : p.k, p.transpose_a ? p.k : p.m);
    layout(out, p.out, p.n, p.m);
  }
  ~Description() {
    for (const auto layout : {a, b, out}) {
      if (layout != nullptr) lib_.MatrixLayoutDestroy(layout);
    }
    if (operation != nullptr) lib_.MatmulDescDestroy(operation);
  }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;

  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    lib_.check(lib_.MatmulDescSetAttribute(operation, attribute, &value, sizeof value),
               "an attribute");
  }

  // The places of what the epilogue reads or writes.
  void set_epilogue(const Product& p, const void* bias, const void* gelu_input) {
    if (p.bias) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    if (p.gelu != GeluUse::kNone) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, gelu_input);
  }

  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, out = nullptr;

 private:
  const Library& lib_;
};

// What cuBLASLt proposes, the best first as it thinks; empty where it has nothing.
std::vector<cublasLtMatmulAlgo_t> propose(const Library& lib, cublasLtHandle_t handle,
                                          const Product& p, int count) {
  Description description(lib, p);
  // Only their alignment matters.
  const auto* aligned = reinterpret_cast<const void*>(static_cast<std::uintptr_t>(p.alignment));
  description.set_epilogue(p, aligned, aligned);
  cublasLtMatmulPreference_t preference = nullptr;
  lib.check(lib.MatmulPreferenceCreate(&preference), "a preference");
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    lib.check(lib.MatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
              "a preference");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{kProductScratchBytes});
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  for (const auto attribute :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    set(attribute, static_cast<std::uint32_t>(p.alignment));
  }
  std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<std::size_t>(count));
  int found = 0;
  const cublasStatus_t status = lib.MatmulAlgoGetHeuristic(
      handle, description.operation, description.a, description.b, description.out, description.out,
      preference, count, results.data(), &found);
  lib.MatmulPreferenceDestroy(preference);
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  if (status != CUBLAS_STATUS_SUCCESS) return algorithms;
  for (int i = 0; i < found; ++i) {
    const auto& result = results[static_cast<std::size_t>(i)];
    if (result.state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(result.algo);
  }
  return algorithms;
}

// Where the operands of a product lie.
struct Operands {
  const void* a;
  const void* b;
  const void* bias;
  const void* add;         // or null
  const void* gelu_input;  // read or written, or null
  void* out;
};

cublasStatus_t enqueue(const Library& lib, cublasLtHandle_t handle, CudaStream& stream,
                       const Product& p, const Operands& at,
                       const cublasLtMatmulAlgo_t& algorithm) {
  Description description(lib, p);
  description.set_epilogue(p, at.bias, at.gelu_input);
  const float one = 1.0F, add = p.accumulate || p.add ? 1.0F : 0.0F;
  return lib.Matmul(handle, description.operation, &one, at.b, description.a, at.a, description.b,
                    &add, p.add ? at.add : at.out, description.out, at.out, description.out,
                    &algorithm, stream.scratch(kProductScratchBytes), kProductScratchBytes,
                    static_cast<cudaStream_t>(stream.native_handle()));
}

// cuBLASLt on one GPU. Thread-safe.
class Multiplier {
 public:
  Multiplier(const Library& lib, Device device)
      : lib_(lib), info_(device_runtime(device.type).info(device)) {
    lib.check(lib.Create(&handle_), "a handle");
    name_ = concat(info_.name, "; cuBLASLt ", lib.GetVersion());
  }

  int capability() const { return info_.capability; }
  std::string key(const Product& p) const { return concat(name_, "; ", text_of(p)); }

  // Null where cuBLASLt has none.
  const cublasLtMatmulAlgo_t* algorithm(const Product& p) {
    const std::lock_guard lock(mutex_);
    auto found = algorithms_.find(p);
    if (found == algorithms_.end()) {
      const auto proposed = propose(lib_, handle_, p, 1);
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
    return propose(lib_, handle_, p, kProposals);
  }
  cublasStatus_t run(CudaStream& stream, const Product& p, const Operands& at,
                     const cublasLtMatmulAlgo_t& algorithm) const {
    return enqueue(lib_, handle_, stream, p, at, algorithm);
  }
  void check(cublasStatus_t status, const Product& p) const {
    lib_.check(status, text_of(p).c_str());
  }

 private:
  const Library& lib_;
  cublasLtHandle_t handle_ = nullptr;
  DeviceInfo info_;
  std::string name_;
  std::mutex mutex_;
  std::map<Product, std::optional<cublasLtMatmulAlgo_t>> algorithms_;
};

// Null without the library. Lives on: the driver may be gone when statics end.
Multiplier* multiplier(Device device) {
  static std::mutex mutex;
  static std::map<int, Multiplier*> all;
  const Library* lib = library();
  if (lib == nullptr) return nullptr;
  const std::lock_guard lock(mutex);
  Multiplier*& own = all[device.index];
  if (own == nullptr)
    own = new Multiplier(*lib, device);  // NOLINT(cppcoreguidelines-owning-memory)
  return own;
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
