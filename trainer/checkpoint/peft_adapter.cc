#include "trainer/checkpoint/peft_adapter.h"

#include <algorithm>
#include <map>

#include "fmt/format.h"
#include "fmt/ranges.h"
#include "kernels/core/check.h"
#include "trainer/checkpoint/element_reader.h"
#include "trainer/checkpoint/format.h"
#include "trainer/checkpoint/safetensors_file.h"
#include "trainer/checkpoint/weight_names.h"

namespace frugal {
namespace {

constexpr std::int64_t kMaxConfigBytes = 1 << 20;

std::vector<std::int64_t> sizes_of(const Shape& shape) {
  return {shape.dim.begin(), shape.dim.begin() + shape.rank};
}

}  // namespace

struct PeftAdapter::Impl {
  std::string folder, config, path;  // path: of the tensors
  std::unique_ptr<StoredFile> file;
  std::map<std::string, ForeignTensor, std::less<>> tensors;  // by our name

  const ForeignTensor& tensor(const std::string& name) const {
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      fail(ErrorKind::kData, path, ": tensor ", kPeftPrefix, name, " is missing");
    }
    return found->second;
  }
};

PeftAdapter::PeftAdapter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PeftAdapter::~PeftAdapter() = default;

std::unique_ptr<PeftAdapter> PeftAdapter::open(const std::string& folder) {
  auto impl = std::make_unique<Impl>();
  impl->folder = folder;
  impl->config =
      read_small_file(folder + "/adapter_config.json", kMaxConfigBytes, Links::kFollowed);
  impl->path = folder + "/adapter_model.safetensors";
  impl->file = std::make_unique<StoredFile>(impl->path, Links::kFollowed);
  for (ForeignTensor& tensor : read_safetensors(*impl->file, impl->path)) {
    if (!tensor.name.starts_with(kPeftPrefix)) {
      fail(ErrorKind::kData, impl->path, ": tensor ", tensor.name, " does not begin with ",
           kPeftPrefix, "; it is none of a causal language model's adapters");
    }
    std::string name = tensor.name.substr(kPeftPrefix.size());
    impl->tensors.emplace(std::move(name), std::move(tensor));
  }
  return std::unique_ptr<PeftAdapter>(new PeftAdapter(std::move(impl)));
}

const std::string& PeftAdapter::folder() const {
  return impl_->folder;
}
const std::string& PeftAdapter::config_json() const {
  return impl_->config;
}

void PeftAdapter::check(std::span<const ForeignWeights::Expected> model) const {
  for (const auto& [name, shape] : model) {
    const ForeignTensor& stored = impl_->tensor(name);
    if (stored.shape != sizes_of(shape)) {
      fail(ErrorKind::kData, impl_->path, ": tensor ", stored.name,
           fmt::format(": the file has [{}], the model [{}]", fmt::join(stored.shape, ", "),
                       fmt::join(sizes_of(shape), ", ")));
    }
    if (!stored.element) {
      fail(ErrorKind::kData, impl_->path, ": tensor ", stored.name, " is stored as ", stored.type,
           "; F32, F16 and BF16 can be read");
    }
  }
  for (const auto& [name, stored] : impl_->tensors) {
    if (std::ranges::find(model, name, &ForeignWeights::Expected::name) != model.end()) continue;
    fail(ErrorKind::kData, impl_->path, ": tensor ", stored.name,
         ": the model has no such adapter (lora.targets says which it has)");
  }
}

void PeftAdapter::read(const TensorSlice& slice) const {
  const ForeignTensor& stored = impl_->tensor(slice.name);
  FRUGAL_CHECK(contains(slice.global, {slice.offset, slice.local.shape}), slice.name, ": box ",
               to_string(slice.local.shape), " lies outside ", to_string(slice.global));
  ElementReader reader(*impl_->file, stored);
  const auto size = static_cast<std::int64_t>(size_of(slice.local.dtype));
  for_each_common_run({{}, slice.global}, {slice.offset, slice.local.shape},
                      [&](std::int64_t from, std::int64_t at, std::int64_t count) {
                        reader.read(from, count, slice.local.dtype, slice.local.data + at * size);
                      });
}

}  // namespace frugal
