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

struct NormSpec {
  std::string name;  // "<name>.weight", with LayerNorm also "<name>.bias"
  std::int64_t width = 0;
  bool layer_norm = false;
  float eps = 1e-5F;
  bool frozen = false;
};

class Norm {
 public:
  // Of whole tokens, as the model's family has it.
  void declare(LayerBuilder& builder, const ModelDimensions& dims, const std::string& name);
  void declare(LayerBuilder& builder, const NormSpec& norm);
  // Per-row statistics kept by the caller's stash until backward_weight: of the local tokens, or of
  // so many rows.
  void declare_statistics(LayerBuilder& builder, const ModelDimensions& dims);
  void declare_statistics(LayerBuilder& builder, std::int64_t rows);

  NormStatistics statistics(const Stash& stash) const;
  NormStatistics scratch_statistics(Workspace& scratch, std::int64_t tokens) const;

  void forward(LayerContext& ctx, Tensor out_TD, ConstTensor x_TD,
               const NormStatistics& stats) const;
  void backward_input(LayerContext& ctx, const NormBackward& args,
                      const NormStatistics& stats) const;
  bool trained() const { return !frozen_; }
  // REQUIRES: trained.
  void backward_weight(LayerContext& ctx, ConstTensor dy_TD, ConstTensor x_TD,
                       const NormStatistics& stats) const;

 private:
  bool layer_norm_ = false, frozen_ = false;
  float eps_ = 1e-5F;
  ParamId weight_ = -1, bias_ = -1;
  StashId mean_ = -1, rstd_ = -1;
};

}  // namespace frugal
