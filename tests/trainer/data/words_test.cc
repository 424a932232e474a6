#include "trainer/data/words.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace frugal {
namespace {

using Words = std::vector<std::string>;

Words words(std::string_view text) {
  Words out;
  while (!text.empty()) {
    out.emplace_back(text.substr(0, first_word(text)));
    text.remove_prefix(out.back().size());
  }
  return out;
}

TEST(Words, FollowThePattern) {
  EXPECT_EQ(words("Hello world!"), (Words{"Hello", " world", "!"}));
  EXPECT_EQ(words("they're 'tis"), (Words{"they", "'re", " '", "tis"}));
  EXPECT_EQ(words("a  b"), (Words{"a", " ", " b"}));
  EXPECT_EQ(words("a\n\n b"), (Words{"a", "\n\n", " b"}));
  EXPECT_EQ(words("a \nb"), (Words{"a", " ", "\n", "b"}));
  EXPECT_EQ(words("a \n"), (Words{"a", " \n"}));
  EXPECT_EQ(words("x12 34y"), (Words{"x", "12", " 34", "y"}));
  EXPECT_EQ(words("\u4f60\u597d\u3000\u3000\uff0c"),
            (Words{"\u4f60\u597d", "\u3000", "\u3000", "\uff0c"}));
}

TEST(Words, MalformedBytesAreOther) {
  EXPECT_EQ(words("a\xff\xfe b"), (Words{"a", "\xff\xfe", " b"}));
  EXPECT_EQ(words("!\xe0\x82\xa0"), (Words{"!\xe0\x82\xa0"}));              // overlong space
  EXPECT_EQ(words("\xe4\xbd"), (Words{"\xe4\xbd"}));                        // cut off
  EXPECT_EQ(words("a\xf5\x80\x80\x80"), (Words{"a", "\xf5\x80\x80\x80"}));  // beyond Unicode
}

// Random text of all classes, with broken UTF-8 in it.
std::string random_text(std::mt19937& generator, int pieces) {
  const Words alphabet = {"a",      "B",      "1",      " ",      " ",          "\n",
                          "\t",     "'",      "s",      "!",      "\u3000",     "\u00a0",
                          "\u4e2d", "\u00e9", "\u2028", "\u0661", "\U0001f600", "\xe3\x80",
                          "\xff",   "\x85",   "\xc2"};
  std::string text;
  for (int i = 0; i < pieces; ++i) text += alphabet[generator() % alphabet.size()];
  return text;
}

TEST(Words, ASafeCutChangesNoWord) {
  std::mt19937 generator(7);
  int cuts = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::string text = random_text(generator, 24);
    const Words whole = words(text);
    for (std::size_t from = 0; from <= text.size(); ++from) {
      const std::size_t cut = safe_cut(text, from);
      ASSERT_GE(cut, from);
      Words parts = words(std::string_view(text).substr(0, cut));
      for (const std::string& word : words(std::string_view(text).substr(cut))) {
        parts.push_back(word);
      }
      ASSERT_EQ(parts, whole) << "cut at " << cut;
      if (cut < text.size()) ++cuts;
    }
  }
  EXPECT_GT(cuts, 10000);
}

TEST(Words, ASafeCutIsBetweenAWordAndASpace) {
  EXPECT_EQ(safe_cut("ab cd", 0), 2U);
  EXPECT_EQ(safe_cut("ab cd", 2), 2U);
  EXPECT_EQ(safe_cut("ab cd", 3), 5U);
  EXPECT_EQ(safe_cut("  \n ab", 1), 6U);
  EXPECT_EQ(safe_cut("\u3000 a b", 1), 5U);  // not between two spaces
}

}  // namespace
}  // namespace frugal
