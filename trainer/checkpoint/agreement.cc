#include "trainer/checkpoint/agreement.h"

#include <cstring>

namespace frugal {
namespace {

Tensor bytes_tensor(std::string& text) {
  return {reinterpret_cast<std::byte*>(text.data()),
          {static_cast<std::int64_t>(text.size())},
          DType::kU8,
          {}};
}

Tensor integer_tensor(std::vector<std::int32_t>& values) {
  return {reinterpret_cast<std::byte*>(values.data()),
          {static_cast<std::int64_t>(values.size())},
          DType::kI32,
          {}};
}

}  // namespace

std::vector<std::string> gather_texts(ProcessGroup& world, const std::string& own) {
  const auto stream = make_stream({}, "checkpoint");
  std::vector<std::int32_t> length{static_cast<std::int32_t>(own.size())};
  std::vector<std::int32_t> lengths(static_cast<std::size_t>(world.size()));
  world.all_gather(integer_tensor(length), integer_tensor(lengths), *stream);
  std::vector<std::string> texts;
  std::vector<PeerTransfer> transfers;
  std::string sent = own;
  if (world.rank() != 0) {
    if (!sent.empty()) transfers.push_back({PeerTransfer::Kind::kSend, bytes_tensor(sent), 0});
  } else {
    texts.resize(lengths.size());
    texts[0] = own;
    for (std::size_t peer = 1; peer < texts.size(); ++peer) {
      if (lengths[peer] == 0) continue;
      texts[peer].resize(static_cast<std::size_t>(lengths[peer]));
      transfers.push_back(
          {PeerTransfer::Kind::kRecv, bytes_tensor(texts[peer]), static_cast<int>(peer)});
    }
  }
  if (!transfers.empty()) world.exchange(transfers, *stream);
  stream->synchronize();
  return texts;
}

std::string broadcast_text(ProcessGroup& world, const std::string& text) {
  const auto stream = make_stream({}, "checkpoint");
  std::vector<std::int32_t> length{static_cast<std::int32_t>(text.size())};
  world.broadcast(integer_tensor(length), 0, *stream);
  stream->synchronize();
  std::string received = text;
  received.resize(static_cast<std::size_t>(length[0]));
  if (!received.empty()) world.broadcast(bytes_tensor(received), 0, *stream);
  stream->synchronize();
  return received;
}

std::optional<Failure> run_agreed(ProcessGroup& world, const std::function<void()>& work) {
  std::string own;  // the kind as one character, then the message; empty: no failure
  try {
    work();
  } catch (const Error& error) {
    own = static_cast<char>(error.kind());
    if (world.size() > 1) own += concat("rank ", world.rank(), ": ");
    own += error.what();
  }
  std::string first;
  for (const std::string& text : gather_texts(world, own)) {
    if (first.empty()) first = text;
  }
  first = broadcast_text(world, first);
  if (first.empty()) return std::nullopt;
  return Failure{static_cast<ErrorKind>(first[0]), first.substr(1)};
}

}  // namespace frugal
