#include "trainer/data/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>

#include "kernels/core/check.h"
#include "trainer/data/characters.h"

namespace frugal {
namespace {

// What utf8proc 2.8 (Unicode 15) and `tokenizers` 0.23.3 treat differently, found by comparing them
// on every code point and every canonical pair.
constexpr std::pair<char32_t, char32_t> kLater[] = {
    {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
    {0xC3C, 0xC3C},     {0xD3B, 0xD3C},     {0xEBA, 0xEBA},     {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10D27},
    {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85},
    {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A},
    {0x11930, 0x11930}, {0x11935, 0x11935}, {0x11938, 0x11938}, {0x1193D, 0x1193E},
    {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47},
    {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97},
    {0x11F41, 0x11F42}, {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136},
    {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF}};

bool is_later(char32_t code) {
  const auto* after =
      std::ranges::upper_bound(kLater, code, {}, &std::pair<char32_t, char32_t>::first);
  return after != std::begin(kLater) && code <= (after - 1)->second;
}

// Whether it decomposes, composes with what is before or changes places with it.
bool may_change(char32_t code) {
  constexpr char32_t kFirst = 0x300;  // below, nothing does that in form C
  if (code < kFirst || is_later(code)) return false;
  if (code >= 0x1160 && code < 0x1200) return true;  // second and third parts of Hangul syllables
  const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(code));
  const bool composes = property->comb_index != UINT16_MAX && property->comb_index >= 0x8000;
  const bool decomposes = property->decomp_seqindex != UINT16_MAX && property->decomp_type == 0;
  return composes || decomposes || property->combining_class != 0;
}

void append_nfc(std::string& out, std::string_view text) {
  utf8proc_uint8_t* result = nullptr;
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &result, options);
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, std::free);
  FRUGAL_CHECK(size >= 0, utf8proc_errmsg(size));
  out.append(reinterpret_cast<const char*>(result), static_cast<std::size_t>(size));
}

}  // namespace

std::string to_nfc(std::string_view text) {
  std::string out;
  std::size_t copied = 0;    // of text, to out
  std::size_t previous = 0;  // where the last character starts that may be a base
  for (std::size_t at = 0; at < text.size();) {
    const Char c = char_at(text, at);
    if (!may_change(c.code)) {
      previous = is_malformed(c) || is_later(c.code) ? at + c.bytes : at;
      at += c.bytes;
      continue;
    }
    std::size_t end = at;
    while (end < text.size() && may_change(char_at(text, end).code))
      end += char_at(text, end).bytes;
    out.append(text.substr(copied, previous - copied));
    append_nfc(out, text.substr(previous, end - previous));
    copied = previous = at = end;
  }
  if (copied == 0) return {};
  out.append(text.substr(copied));
  return out;
}

}  // namespace frugal
