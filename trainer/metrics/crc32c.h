// CRC-32C (Castagnoli), as event files use it.
#pragma once

#include <cstdint>
#include <string_view>

namespace frugal {

// Polynomial 0x1EDC6F41, reflected, initial value and final xor all ones (RFC 3720, B.4).
std::uint32_t crc32c(std::string_view bytes);

// Rotated right by 15 and offset by a constant, so that the checksum of data that holds checksums
// stays informative. Event files store this form.
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace frugal
