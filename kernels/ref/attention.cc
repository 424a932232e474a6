#include <cmath>
#include <vector>

#include "kernels/ops/op_table.h"
#include "kernels/ref/element.h"

namespace frugal::ref {
namespace {

// Index arithmetic of one (token, query head) row.
struct Row {
  std::int64_t token = 0, head = 0, kv_head = 0;
  std::int64_t first_key = 0;  // token index of the first visible key; the last is the token itself
};

template <class Args>
Row row_of(const Args& args, std::int64_t token, std::int64_t head) {
  const std::int64_t group = args.q_TNH.shape[1] / args.k_TMH.shape[1];
  const std::int64_t sequence_begin = token / args.sequence_length * args.sequence_length;
  const std::int64_t document = args.document_start_T.data != nullptr
                                    ? args.document_start_T.template as<std::int32_t>()[token]
                                    : 0;
  return {token, head, head / group, sequence_begin + document};
}

double dot(const ConstTensor& a, std::int64_t a_row, const ConstTensor& b, std::int64_t b_row) {
  const std::int64_t size = a.shape[2];
  double sum = 0.0;
  for (std::int64_t h = 0; h < size; ++h) sum += at(a, a_row * size + h) * at(b, b_row * size + h);
  return sum;
}

}  // namespace

void attention_forward(Stream& stream, const AttentionForwardArgs& args) {
  stream.run_host([=] {
    const std::int64_t heads = args.q_TNH.shape[1];
    const std::int64_t kv_heads = args.k_TMH.shape[1];
    const std::int64_t size = args.v_TMH.shape[2];
    for (std::int64_t t = 0; t < args.q_TNH.shape[0]; ++t) {
      for (std::int64_t n = 0; n < heads; ++n) {
        const Row row = row_of(args, t, n);
        double total = 0.0;
        std::vector<double> out(static_cast<std::size_t>(size), 0.0);
        for (std::int64_t j = row.first_key; j <= t; ++j) {
          const std::int64_t key = j * kv_heads + row.kv_head;
          const double weight = std::exp(static_cast<double>(args.scale) *
                                         dot(args.q_TNH, t * heads + n, args.k_TMH, key));
          total += weight;
          for (std::int64_t h = 0; h < size; ++h) {
            out[static_cast<std::size_t>(h)] += weight * at(args.v_TMH, key * size + h);
          }
        }
        put(args.lse_TN, t * heads + n, std::log(total));
        for (std::int64_t h = 0; h < size; ++h) {
          put(args.out_TNH, (t * heads + n) * size + h, out[static_cast<std::size_t>(h)] / total);
        }
      }
    }
  });
}

void attention_backward_input(Stream& stream, const AttentionBackwardArgs& args) {
  stream.run_host([=] {
    const std::int64_t heads = args.q_TNH.shape[1];
    const std::int64_t kv_heads = args.k_TMH.shape[1];
    const std::int64_t size = args.q_TNH.shape[2], value_size = args.v_TMH.shape[2];
    const auto scale = static_cast<double>(args.scale);
    std::vector<double> dq(static_cast<std::size_t>(args.dq_TNH.numel()), 0.0);
    std::vector<double> dk(static_cast<std::size_t>(args.dk_TMH.numel()), 0.0);
    std::vector<double> dv(static_cast<std::size_t>(args.dv_TMH.numel()), 0.0);
    for (std::int64_t t = 0; t < args.q_TNH.shape[0]; ++t) {
      for (std::int64_t n = 0; n < heads; ++n) {
        const Row row = row_of(args, t, n);
        const std::int64_t query = t * heads + n;
        const double delta = dot(args.dout_TNH, query, args.out_TNH, query);
        for (std::int64_t j = row.first_key; j <= t; ++j) {
          const std::int64_t key = j * kv_heads + row.kv_head;
          const double p =
              std::exp(scale * dot(args.q_TNH, query, args.k_TMH, key) - at(args.lse_TN, query));
          const double ds = scale * p * (dot(args.dout_TNH, query, args.v_TMH, key) - delta);
          for (std::int64_t h = 0; h < value_size; ++h) {
            dv[static_cast<std::size_t>(key * value_size + h)] +=
                p * at(args.dout_TNH, query * value_size + h);
          }
          for (std::int64_t h = 0; h < size; ++h) {
            dq[static_cast<std::size_t>(query * size + h)] += ds * at(args.k_TMH, key * size + h);
            dk[static_cast<std::size_t>(key * size + h)] += ds * at(args.q_TNH, query * size + h);
          }
        }
      }
    }
    for (std::size_t i = 0; i < dq.size(); ++i)
      put(args.dq_TNH, static_cast<std::int64_t>(i), dq[i]);
    for (std::size_t i = 0; i < dk.size(); ++i)
      put(args.dk_TMH, static_cast<std::int64_t>(i), dk[i]);
    for (std::size_t i = 0; i < dv.size(); ++i)
      put(args.dv_TMH, static_cast<std::int64_t>(i), dv[i]);
  });
}

}  // namespace frugal::ref
