#include "kernels/cuda/cublaslt_library.h"

#include <array>
#include <optional>

#include "kernels/core/check.h"
#include "kernels/core/shared_library.h"

namespace frugal::cu {

#define FRUGAL_CUBLASLT_FUNCTIONS(F) \
  F(Create)                          \
  F(Destroy)                         \
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

struct CublasLt::Library {
#define FRUGAL_FUNCTION(name) decltype(cublasLt##name)* name;
  FRUGAL_CUBLASLT_FUNCTIONS(FRUGAL_FUNCTION)
#undef FRUGAL_FUNCTION

  void check(cublasStatus_t status, const char* what) const {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    fail(ErrorKind::kInternal, "cuBLASLt: ", what, ": ", GetStatusString(status));
  }
};

namespace {

using Library = CublasLt::Library;

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

}  // namespace

CublasLt::CublasLt(const Library& lib) : lib_(lib) {
  lib.check(lib.Create(&handle_), "a handle");
}

CublasLt::~CublasLt() {
  lib_.Destroy(handle_);
}

std::unique_ptr<CublasLt> CublasLt::open() {
  const Library* lib = library();
  return lib == nullptr ? nullptr : std::unique_ptr<CublasLt>(new CublasLt(*lib));
}

std::size_t CublasLt::version() const {
  return lib_.GetVersion();
}

void CublasLt::check(cublasStatus_t status, const std::string& what) const {
  lib_.check(status, what.c_str());
}

std::vector<cublasLtMatmulAlgo_t> CublasLt::propose(const Product& p, int count) const {
  const Library& lib = lib_;
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
      handle_, description.operation, description.a, description.b, description.out,
      description.out, preference, count, results.data(), &found);
  lib.MatmulPreferenceDestroy(preference);
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  if (status != CUBLAS_STATUS_SUCCESS) return algorithms;
  for (int i = 0; i < found; ++i) {
    const auto& result = results[static_cast<std::size_t>(i)];
    if (result.state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(result.algo);
  }
  return algorithms;
}

cublasStatus_t CublasLt::enqueue(CudaStream& stream, const Product& p, const Operands& at,
                                 const cublasLtMatmulAlgo_t& algorithm) const {
  Description description(lib_, p);
  description.set_epilogue(p, at.bias, at.gelu_input);
  const float one = 1.0F, add = p.accumulate || p.add ? 1.0F : 0.0F;
  return lib_.Matmul(handle_, description.operation, &one, at.b, description.a, at.a, description.b,
                     &add, p.add ? at.add : at.out, description.out, at.out, description.out,
                     &algorithm, stream.scratch(kProductScratchBytes), kProductScratchBytes,
                     static_cast<cudaStream_t>(stream.native_handle()));
}

}  // namespace frugal::cu
