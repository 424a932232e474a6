#include "trainer/model/model.h"

#include "trainer/model/attention_layer.h"
#include "trainer/model/embedding_layer.h"
#include "trainer/model/head_layer.h"
#include "trainer/model/mlp_layer.h"
#include "trainer/model/recompute_layer.h"

namespace frugal {
namespace {

class ParamCollector final : public LayerBuilder {
 public:
  ParamId param(const ParamSpec& spec) override {
    if (spec.tie != ParamTie::kCopy) params.push_back(spec);
    return 0;
  }
  StashId stash(std::string_view, Shape, DType, Lifetime) override { return 0; }
  void keep_input(Lifetime) override {}

  std::vector<ParamSpec> params;
};

std::unique_ptr<Layer> make_block(const ModelDimensions& dims, int entry, Tensor rope_table) {
  const int index = (entry - 1) / 2;
  std::unique_ptr<Layer> layer;
  if (entry % 2 == 1) {
    layer = std::make_unique<AttentionLayer>(dims, index, rope_table);
  } else {
    layer = std::make_unique<MlpLayer>(dims, index);
  }
  if (!dims.recompute) return layer;
  return std::make_unique<RecomputeLayer>(std::move(layer), Shape{dims.local_tokens(), dims.hidden},
                                          dims.dtype);
}

}  // namespace

std::vector<std::unique_ptr<Layer>> make_layers(const ModelDimensions& dims, int begin, int end,
                                                Tensor rope_table) {
  std::vector<std::unique_ptr<Layer>> out;
  const int last = layer_entries(dims) - 1;
  for (int entry = begin; entry < end; ++entry) {
    if (entry == 0) {
      out.push_back(std::make_unique<EmbeddingLayer>(dims));
    } else if (entry == last) {
      out.push_back(std::make_unique<HeadLayer>(dims));
    } else {
      out.push_back(make_block(dims, entry, rope_table));
    }
  }
  return out;
}

std::vector<ParamSpec> all_params(const ModelDimensions& dims) {
  ParamCollector collector;
  for (const auto& layer : make_layers(dims, 0, layer_entries(dims), {})) layer->declare(collector);
  return std::move(collector.params);
}

}  // namespace frugal
