#include "trainer/data/checksum.h"

#include <cstring>

#include "kernels/core/check.h"
#include "xxhash.h"

namespace frugal {
namespace {

Checksum canonical(XXH128_hash_t hash) {
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, hash);
  Checksum out;
  static_assert(sizeof bytes == sizeof out);
  std::memcpy(out.data(), &bytes, sizeof out);
  return out;
}

}  // namespace

std::string to_hex(const Checksum& checksum) {
  std::string out;
  for (const std::byte byte : checksum) {
    const auto value = std::to_integer<unsigned>(byte);
    out += "0123456789abcdef"[value >> 4];
    out += "0123456789abcdef"[value & 15];
  }
  return out;
}

struct Checksummer::State {
  XXH3_state_t* xxh = XXH3_createState();
  ~State() { XXH3_freeState(xxh); }
};

Checksummer::Checksummer() : state_(std::make_unique<State>()) {
  FRUGAL_CHECK(state_->xxh != nullptr);
  XXH3_128bits_reset(state_->xxh);
}

Checksummer::~Checksummer() = default;

void Checksummer::add(std::span<const std::byte> bytes) {
  if (!bytes.empty()) XXH3_128bits_update(state_->xxh, bytes.data(), bytes.size());
}

Checksum Checksummer::result() const {
  return canonical(XXH3_128bits_digest(state_->xxh));
}

Checksum checksum(std::span<const std::byte> bytes) {
  return canonical(XXH3_128bits(bytes.data(), bytes.size()));
}

}  // namespace frugal
