// Element by element, a pack for each thread.
#include "kernels/cuda/device/element.h"
#include "kernels/cuda/map.h"
#include "kernels/ops/op_table.h"

namespace frugal::cu {
namespace {

struct Sigmoid {
  float value;
  float complement;  // 1 - value, without cancellation
};

__device__ __forceinline__ Sigmoid sigmoid(float z) {
  const float e = expf(-fminf(fmaxf(z, -87.0F), 87.0F));
  const float value = 1.0F / (1.0F + e);
  return {value, e * value};
}

// 2 sqrt(2/pi) (x + 0.044715 x^3): gelu(x) = x sigmoid(this).
constexpr float kGeluLinear = 1.5957691216F;
constexpr float kGeluCubic = 0.0713548162726F;

struct Silu {
  __device__ float operator()(float gate, float up) const {
    return gate * sigmoid(gate).value * up;
  }
};
struct SiluGradient {
  __device__ Floats<2> operator()(float dout, float gate, float up) const {
    const Sigmoid s = sigmoid(gate);
    const float slope = s.value * fmaf(gate, s.complement, 1.0F);
    return {dout * up * slope, dout * (gate * s.value)};
  }
};
struct Gelu {
  __device__ float operator()(float x) const {
    return x * sigmoid(x * fmaf(kGeluCubic, x * x, kGeluLinear)).value;
  }
};
struct GeluGradient {
  __device__ float operator()(float dout, float x) const {
    const float square = x * x;
    const Sigmoid s = sigmoid(x * fmaf(kGeluCubic, square, kGeluLinear));
    const float inner = fmaf(3.0F * kGeluCubic, square, kGeluLinear);
    return dout * fmaf(x * s.value, s.complement * inner, s.value);
  }
};

template <int kOutputs, int kInputs, class Fn>
void activation(Stream& stream, std::string_view name, const std::array<Tensor, kOutputs>& out,
                const std::array<ConstTensor, kInputs>& in, Fn fn) {
  visit_float(out[0].dtype,
              [&]<class T>() { map<T, T, kOutputs, kInputs>(stream, name, out, in, fn); });
}

}  // namespace

void swiglu_forward(Stream& stream, Tensor out, ConstTensor gate, ConstTensor up) {
  activation<1, 2>(stream, "swiglu_forward", {out}, {gate, up}, Silu());
}

void swiglu_backward_input(Stream& stream, const SwigluBackwardArgs& args) {
  activation<2, 3>(stream, "swiglu_backward_input", {args.dgate_TI, args.dup_TI},
                   {args.dout_TI, args.gate_TI, args.up_TI}, SiluGradient());
}

void gelu_forward(Stream& stream, Tensor out, ConstTensor x) {
  activation<1, 1>(stream, "gelu_forward", {out}, {x}, Gelu());
}

void gelu_backward_input(Stream& stream, Tensor dx, ConstTensor dout, ConstTensor x) {
  activation<1, 2>(stream, "gelu_backward_input", {dx}, {dout, x}, GeluGradient());
}

}  // namespace frugal::cu
