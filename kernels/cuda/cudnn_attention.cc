#include "kernels/cuda/cudnn_attention.h"

#include <cudnn_frontend.h>

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "kernels/core/shared_library.h"
#include "kernels/cuda/attention_lse.h"
#include "kernels/cuda/cuda_stream.h"
#include "kernels/ops/implementations.h"
#include "kernels/ops/product.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;  // the frontend calls the library through it
}  // namespace cudnn_frontend

namespace frugal::cu {
namespace {

namespace fe = cudnn_frontend;

// Of the deterministic backward on Hopper, which keeps a square of 16-bit numbers for each head:
// with more, it goes over the sequences in parts.
constexpr auto kScratchBytes = static_cast<std::int64_t>(kAttentionScratchBytes);

enum Id : std::int64_t { kQ = 1, kK, kV, kOut, kLse, kDout, kDq, kDk, kDv };

// Empty where the library is there.
const std::string& library_missing() {
  static const std::string missing = [] {
    constexpr std::array kNames{"libcudnn.so.9"};
    std::string why;
    const auto file = SharedLibrary::open(kNames, why);
    if (file == nullptr) return why;
    fe::cudnn_dlhandle = file->handle();
    return std::string();
  }();
  return missing;
}

// The tensors lie as [sequence, position, head, dimension]; cuDNN names them by sequence, head,
// position, dimension.
class GraphOf {
 public:
  // properties, capability: of a device that is not there.
  explicit GraphOf(const CudnnProblem& p,
                   const std::shared_ptr<const fe::DeviceProperties>& properties = nullptr,
                   int capability = 0)
      : p_(p), graph_(std::make_shared<fe::graph::Graph>()) {
    if (properties != nullptr) {
      graph_->set_device_properties(properties);
      graph_->set_sm_version(capability);  // before there are nodes, which keep it
    }
    graph_
        ->set_io_data_type(p.dtype == DType::kF16 ? fe::DataType_t::HALF : fe::DataType_t::BFLOAT16)
        .set_intermediate_data_type(fe::DataType_t::FLOAT)
        .set_compute_data_type(fe::DataType_t::FLOAT);
    const Layout query = rows(p.heads, p.dim), key = rows(p.kv_heads, p.dim),
                 value = rows(p.kv_heads, p.value_dim), result = rows(p.heads, p.value_dim);
    const auto q = input(kQ, query), k = input(kK, key), v = input(kV, value);
    if (p.backward) {
      auto lse = packed_lse().set_uid(kLse);
      const auto [dq, dk, dv] = graph_->sdpa_backward(q, k, v, input(kOut, result),
                                                      input(kDout, result), graph_->tensor(lse),
                                                      fe::graph::SDPA_backward_attributes()
                                                          .set_causal_mask(true)
                                                          .set_attn_scale(p.scale)
                                                          .set_deterministic_algorithm(true));
      output(dq, kDq, query);
      output(dk, kDk, key);
      output(dv, kDv, value);
    } else {
      const auto [out, lse] = graph_->sdpa(q, k, v,
                                           fe::graph::SDPA_attributes()
                                               .set_generate_stats(true)
                                               .set_causal_mask(true)
                                               .set_attn_scale(p.scale));
      output(out, kOut, result);
      lse->set_output(true)
          .set_uid(kLse)
          .set_dim({p.sequences, p.heads, p.length, 1})
          .set_stride({p.length * p.heads, 1, p.heads, 1})
          .set_data_type(fe::DataType_t::FLOAT);
    }
  }

  const std::shared_ptr<fe::graph::Graph>& get() const { return graph_; }

 private:
  struct Layout {
    std::vector<std::int64_t> dim, stride;
  };
  Layout rows(std::int64_t heads, std::int64_t dim) const {
    return {{p_.sequences, heads, p_.length, dim}, {p_.length * heads * dim, dim, heads * dim, 1}};
  }
  fe::graph::Tensor_attributes packed_lse() const {
    return fe::graph::Tensor_attributes()
        .set_dim({p_.sequences, p_.heads, p_.length, 1})
        .set_stride({p_.length * p_.heads, p_.length, 1, 1})
        .set_data_type(fe::DataType_t::FLOAT);
  }
  std::shared_ptr<fe::graph::Tensor_attributes> input(Id id, const Layout& layout) {
    return graph_->tensor(
        fe::graph::Tensor_attributes().set_uid(id).set_dim(layout.dim).set_stride(layout.stride));
  }
  static void output(const std::shared_ptr<fe::graph::Tensor_attributes>& tensor, Id id,
                     const Layout& layout) {
    tensor->set_output(true).set_uid(id).set_dim(layout.dim).set_stride(layout.stride);
  }

  CudnnProblem p_;
  std::shared_ptr<fe::graph::Graph> graph_;
};

// cuDNN on one GPU. Thread-safe.
class Attention {
 public:
  // A plan, or why there is none.
  struct Plan {
    std::shared_ptr<fe::graph::Graph> graph;
    std::string why;
  };

  const Plan& plan(const CudnnProblem& p) {
    const std::lock_guard lock(mutex_);
    const auto [found, added] = plans_.try_emplace(p);
    if (added) found->second = make(p);
    return found->second;
  }

  void run(const Plan& plan, std::unordered_map<std::int64_t, void*>& tensors, void* scratch,
           cudaStream_t stream) {
    const std::lock_guard lock(mutex_);
    const auto stream_set = fe::detail::set_stream(handle_, stream);
    FRUGAL_CHECK(stream_set == CUDNN_STATUS_SUCCESS, "cuDNN refuses a stream");
    auto status = plan.graph->execute(handle_, tensors, scratch);
    FRUGAL_CHECK(status.is_good(), "cuDNN attention: ", status.get_message());
  }

 private:
  Plan make(const CudnnProblem& p) {
    try {
      if (handle_ == nullptr && fe::detail::create_handle(&handle_) != CUDNN_STATUS_SUCCESS) {
        return {nullptr, "cuDNN gives no handle"};
      }
      const auto graph = GraphOf(p).get();
      auto status = graph->build(handle_, {fe::HeurMode_t::A, fe::HeurMode_t::FALLBACK});
      if (!status.is_good()) return {nullptr, "cuDNN has no plan: " + status.get_message()};
      if (graph->get_workspace_size() > kScratchBytes) return {nullptr, "its workspace is large"};
      return {graph, ""};
    } catch (const std::exception& error) {
      return {nullptr, std::string("cuDNN: ") + error.what()};
    }
  }

  std::mutex mutex_;
  cudnnHandle_t handle_ = nullptr;
  std::map<CudnnProblem, Plan> plans_;
};

// Lives on: the driver may be gone when statics end.
Attention& attention_on(Device device) {
  static std::mutex mutex;
  static std::map<int, Attention*> all;
  const std::lock_guard lock(mutex);
  Attention*& own = all[device.index];
  if (own == nullptr) own = new Attention;  // NOLINT(cppcoreguidelines-owning-memory)
  return *own;
}

template <class Args>
CudnnProblem problem_of(const Args& args, bool backward) {
  const Shape& q = args.q_TNH.shape;
  CudnnProblem p{.dtype = args.q_TNH.dtype,
                 .sequences = args.sequence_length > 0 ? q[0] / args.sequence_length : 0,
                 .length = args.sequence_length,
                 .heads = q[1],
                 .kv_heads = args.k_TMH.shape[1],
                 .dim = q[2],
                 .value_dim = args.v_TMH.shape[2],
                 .scale = args.scale,
                 .backward = backward};
  if (!backward || p.sequences == 0) return p;
  const std::int64_t square = 2 * p.heads * p.length * p.length;
  std::int64_t part = std::clamp<std::int64_t>(kScratchBytes / 2 / square, 1, p.sequences);
  while (p.sequences % part != 0) --part;
  p.sequences = part;
  return p;
}

template <class Args, class... Tensors>
const char* declines(Stream& stream, bool backward, const Args& args, const Tensors&... tensors) {
  const DType dtype = args.q_TNH.dtype;
  if (((reinterpret_cast<std::uintptr_t>(tensors.data) % 16 != 0) || ...)) {
    return "unaligned tensors";
  }
  if (dtype != DType::kBF16 && dtype != DType::kF16) return "not a 16-bit type";
  if (given(args.document_start_T)) return "documents";
  const std::string& missing = library_missing();
  if (!missing.empty()) {
    say_once("attention: without cuDNN, on own kernels: " + missing);
    return "the library is missing";
  }
  const CudnnProblem p = problem_of(args, backward);
  if (p.sequences == 0) return "nothing to do";
  const auto& plan = attention_on(stream.device()).plan(p);
  if (plan.graph != nullptr) return nullptr;
  say_once(concat("attention: not cuDNN for ", backward ? "backward, " : "forward, ", p.heads, "/",
                  p.kv_heads, " heads of ", p.dim,
                  p.value_dim == p.dim ? "" : concat("/", p.value_dim), ": ", plan.why));
  return plan.why.c_str();
}

void* at(const ConstTensor& t, std::int64_t row) {
  const std::size_t bytes = t.bytes() / static_cast<std::size_t>(t.shape[0]);
  return const_cast<std::byte*>(t.data) + static_cast<std::size_t>(row) * bytes;
}

}  // namespace

const char* cudnn_forward_declines(Stream& stream, const AttentionForwardArgs& args) {
  return declines(stream, false, args, args.out_TNH, args.q_TNH, args.k_TMH, args.v_TMH);
}

const char* cudnn_backward_declines(Stream& stream, const AttentionBackwardArgs& args) {
  return declines(stream, true, args, args.dq_TNH, args.dk_TMH, args.dv_TMH, args.dout_TNH,
                  args.q_TNH, args.k_TMH, args.v_TMH, args.out_TNH);
}

void cudnn_attention_forward(Stream& stream, const AttentionForwardArgs& args) {
  auto& own = static_cast<CudaStream&>(stream);
  Attention& attention = attention_on(stream.device());
  const auto& plan = attention.plan(problem_of(args, false));
  std::unordered_map<std::int64_t, void*> tensors{{kQ, at(args.q_TNH, 0)},
                                                  {kK, at(args.k_TMH, 0)},
                                                  {kV, at(args.v_TMH, 0)},
                                                  {kOut, args.out_TNH.data},
                                                  {kLse, args.lse_TN.data}};
  const auto bytes = static_cast<std::size_t>(plan.graph->get_workspace_size());
  attention.run(plan, tensors, own.scratch(bytes),
                static_cast<cudaStream_t>(stream.native_handle()));
}

void cudnn_attention_backward_input(Stream& stream, const AttentionBackwardArgs& args) {
  auto& own = static_cast<CudaStream&>(stream);
  Attention& attention = attention_on(stream.device());
  const CudnnProblem p = problem_of(args, true);
  const auto& plan = attention.plan(p);
  const std::int64_t tokens = p.sequences * p.length;
  const auto lse_bytes = static_cast<std::size_t>(tokens * p.heads) * sizeof(float);
  const std::size_t lse_end = (lse_bytes + 255) / 256 * 256;
  auto* scratch = static_cast<std::byte*>(
      own.scratch(lse_end + static_cast<std::size_t>(plan.graph->get_workspace_size())));
  auto* lse = reinterpret_cast<float*>(scratch);
  for (std::int64_t row = 0; row < args.q_TNH.shape[0]; row += tokens) {
    transpose_lse(stream, lse, static_cast<const float*>(at(args.lse_TN, row)), p.sequences,
                  p.length, p.heads);
    std::unordered_map<std::int64_t, void*> tensors{
        {kQ, at(args.q_TNH, row)},       {kK, at(args.k_TMH, row)},
        {kV, at(args.v_TMH, row)},       {kOut, at(args.out_TNH, row)},
        {kDout, at(args.dout_TNH, row)}, {kLse, lse},
        {kDq, at(args.dq_TNH, row)},     {kDk, at(args.dk_TMH, row)},
        {kDv, at(args.dv_TMH, row)}};
    attention.run(plan, tensors, scratch + lse_end,
                  static_cast<cudaStream_t>(stream.native_handle()));
  }
}

std::size_t cudnn_version() {
  return fe::detail::get_backend_version();
}

std::string cudnn_lacks(const CudnnProblem& problem, const std::string& device, int capability) {
  if (!library_missing().empty()) return library_missing();
  try {
    std::vector<std::uint8_t> text(device.begin(), device.end());
    text.push_back(0);
    const auto properties = std::make_shared<fe::DeviceProperties>();
    auto status = properties->deserialize(text);
    const auto graph = GraphOf(problem, properties, capability).get();
    if (status.is_good()) status = graph->validate();
    if (status.is_good()) status = graph->build_operation_graph();
    if (status.is_good()) status = graph->create_execution_plans({fe::HeurMode_t::A});
    if (status.is_good()) status = graph->check_support();
    return status.is_good() ? "" : status.get_message();
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace frugal::cu
