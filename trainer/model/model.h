// The families, as flat lists of layers.
#pragma once

#include <memory>
#include <vector>

#include "trainer/model/dimensions.h"
#include "trainer/model/layer.h"

namespace frugal {

// Entries of the flat list: the embedding, an attention and an MLP entry per transformer layer, the
// head.
inline int layer_entries(const ModelDimensions& dims) {
  return 2 * dims.layers + 2;
}

// Entries [begin, end) of the flat list. rope_table may be null where no attention entry is in the
// range or the family has none.
std::vector<std::unique_ptr<Layer>> make_layers(const ModelDimensions& dims, int begin, int end,
                                                Tensor rope_table);

// All parameters of the model in the order of the flat list, with the copies of tied ones left out:
// the order in which global sums over parameters are taken on every layout.
std::vector<ParamSpec> all_params(const ModelDimensions& dims);

}  // namespace frugal
