// The normalisation of a layer: RMSNorm for the Llama family, LayerNorm for GPT-2.
// Legend: T local tokens, D model width.
#pragma once

#include <string>

#include "trainer/model/dimensions.h"
#include "trainer/model/layer.h"

namespace frugal {

// What forward leaves for backward.
struct NormStatistics {
  Tensor mean_T;  // LayerNorm only
  Tensor rstd_T;
};

// dx (=) = gradient through the norm + add (where given).
struct NormBackward {
  Tensor dx_TD;
  ConstTensor dy_TD, x_TD, add_TD;
};

class Norm {
 public:
  // Declares "<name>.weight" (and "<name>.bias").
  void declare(LayerBuilder& builder, const ModelDimensions& dims, const std::string& name);
  // Per-token statistics kept by the caller's stash until backward_weight.
  void declare_statistics(LayerBuilder& builder, const ModelDimensions& dims);

  NormStatistics statistics(const Stash& stash) const;
  NormStatistics scratch_statistics(Workspace& scratch, std::int64_t tokens) const;

  void forward(LayerContext& ctx, Tensor out_TD, ConstTensor x_TD,
               const NormStatistics& stats) const;
  void backward_input(LayerContext& ctx, const NormBackward& args,
                      const NormStatistics& stats) const;
  void backward_weight(LayerContext& ctx, ConstTensor dy_TD, ConstTensor x_TD,
                       const NormStatistics& stats) const;

 private:
  bool layer_norm_ = false;
  float eps_ = 1e-5F;
  ParamId weight_ = -1, bias_ = -1;
  StashId mean_ = -1, rstd_ = -1;
};

}  // namespace frugal
