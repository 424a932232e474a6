#include "trainer/data/nfc.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/trainer/data/scratch.h"
#include "trainer/data/characters.h"
#include "trainer/data/checksum.h"

namespace frugal {
namespace {

std::string nfc(const std::string& text) {
  const std::string changed = to_nfc(text);
  return changed.empty() ? text : changed;
}

TEST(Nfc, EveryCodePointAsTheReferenceLibraryHasIt) {
  Checksummer sum;
  for (char32_t code = 1; code < 0x110000; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string c;
    append_utf8(c, code);
    sum.add_text(nfc(c + "a\u0345" + c + "\u0300a\u0327" + c + "\u0323" + c + "\u0338" + c +
                     "\u0301\u0327x"));
  }
  EXPECT_EQ(to_hex(sum.result()) + "\n", read_whole(golden_dir() + "/nfc.txt"));
}

TEST(Nfc, ComposesDecomposesAndOrders) {
  EXPECT_EQ(nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(nfc("xe\u0323\u0302y"), "x\u1ec7y");
  EXPECT_EQ(nfc("a\u0315\u0300"), "\u00e0\u0315");
  EXPECT_EQ(nfc("\u212b\u2126\uf900"), "\u00c5\u03a9\u8c48");          // singletons
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093c");                            // excluded from composition
  EXPECT_EQ(nfc("\u1100\u1161\u11a8 \uac00\u11a8"), "\uac01 \uac01");  // Hangul
  EXPECT_EQ(to_nfc("plain, \u00e9t\u00e9 \u4e2d\u6587 \U0001f600"), "");
}

TEST(Nfc, WhatCameAfterUnicode9StaysAsItIs) {
  EXPECT_EQ(nfc("\U00011935\U00011930"), "\U00011935\U00011930");  // composes since Unicode 13
  EXPECT_EQ(nfc("e\u1abf\u0301"), "e\u1abf\u0301");                // a mark since Unicode 13
}

TEST(Nfc, MalformedBytesStayAndAreNoBase) {
  EXPECT_EQ(nfc("\xff\u0301"
                "e\u0301\xc3"),
            "\xff\u0301\u00e9\xc3");
  EXPECT_EQ(nfc("e\xcc"), "e\xcc");
}

}  // namespace
}  // namespace frugal
