#include "trainer/data/words.h"

#include <gtest/gtest.h>

#include <algorithm>
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

using Steps = std::vector<SplitPattern>;

const std::vector<Steps>& all_steps() {
  using enum SplitPattern;
  static const std::vector<Steps> steps = {
      {kGpt2},
      {kLlama3},
      {kQwen2},
      {kThreeDigits, kDeepSeekCjk, kDeepSeekWords},
      {kCoderNewline, kCoderLetters, kCoderPunctuation, kCoderCjk, kDigit},
      {kDigit, kGpt2},
      {}};
  return steps;
}

Words words_of(const Steps& steps, std::string_view text) {
  Words out;
  for_each_word(std::span<const SplitPattern>(steps), text,
                [&](std::string_view word) { out.emplace_back(word); });
  return out;
}

TEST(Words, EveryStepKeepsAllBytesAndGivesNoEmptyWord) {
  std::mt19937 generator(9);
  for (const Steps& steps : all_steps()) {
    for (int round = 0; round < 500; ++round) {
      std::string text, joined;
      for (int i = 0; i < 20; ++i) text += static_cast<char>(generator() % 256);
      for (const std::string& word : words_of(steps, text)) {
        EXPECT_FALSE(word.empty());
        joined += word;
      }
      ASSERT_EQ(joined, text);
    }
  }
  EXPECT_EQ(words_of(all_steps().back(), "a b"), Words{"a b"});  // no step
}

TEST(Words, PatternsAreKnownByTheWholeOfTheirText) {
  using enum SplitPattern;
  for (const SplitPattern pattern :
       {kGpt2, kLlama3, kQwen2, kThreeDigits, kDeepSeekCjk, kDeepSeekWords, kCoderNewline,
        kCoderLetters, kCoderPunctuation, kCoderCjk}) {
    const std::string regex(regex_of(pattern));
    EXPECT_EQ(pattern_of(regex), pattern);
    EXPECT_EQ(pattern_of(regex + "|a"), std::nullopt);
    EXPECT_EQ(pattern_of(regex.substr(1)), std::nullopt);
  }
}

// Random text of all classes, with broken UTF-8 in it.
std::string random_text(std::mt19937& generator, int pieces) {
  const Words alphabet = {"a",      "B",          "1",        " ",      " ",      "\n",
                          "\t",     "'",          "s",        "\r",     "7",      "\u0301",
                          "!",      "\u3000",     "\u00a0",   "\u4e2d", "\u00e9", "\u2028",
                          "\u0661", "\U0001f600", "\xe3\x80", "\xff",   "\x85",   "\xc2"};
  std::string text;
  for (int i = 0; i < pieces; ++i) text += alphabet[generator() % alphabet.size()];
  return text;
}

// Digits is by Unicode 17, where these two are digits; for \p{N} they are not assigned yet.
TEST(Words, DigitsAreNewerThanThePatterns) {
  using enum SplitPattern;
  EXPECT_EQ(words_of({kDigit, kGpt2}, "!\U00011de3\U00016ff4!"),
            (Words{"!", "\U00011de3", "\U00016ff4", "!"}));
  EXPECT_EQ(words_of({kGpt2}, "!\U00011de3\U00016ff4!"), (Words{"!\U00011de3\U00016ff4!"}));
}

TEST(Words, CaseFoldsAsInUnicode) {
  const Steps llama3 = {SplitPattern::kLlama3};
  EXPECT_EQ(words_of(llama3, "'\u017fun 'Sun 'LLama"),
            (Words{"'\u017f", "un", " '", "Sun", " '", "LLama"}));
  EXPECT_EQ(words_of(llama3, "'RElly"), (Words{"'RE", "lly"}));
}

std::string replaced(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += char_at(text, at).bytes) {
    const Char c = char_at(text, at);
    out += is_malformed(c) ? "\ufffd" : text.substr(at, c.bytes);
  }
  return out;
}

// The reference library never sees such bytes: they are U+FFFD before it does.
TEST(Words, MalformedBytesAreSplitAsReplacementCharacters) {
  std::mt19937 generator(4);
  for (const Steps& steps : all_steps()) {
    for (int round = 0; round < 1000; ++round) {
      const std::string text = random_text(generator, 12);
      Words words = words_of(steps, text);
      std::ranges::transform(words, words.begin(), replaced);
      ASSERT_EQ(words, words_of(steps, replaced(text))) << text;
    }
  }
}

TEST(Words, ASafeCutChangesNoWord) {
  std::mt19937 generator(7);
  for (const Steps& steps : all_steps()) {
    if (steps.empty()) continue;  // one word
    int cuts = 0;
    for (int round = 0; round < 1000; ++round) {
      const std::string text = random_text(generator, 24);
      const Words whole = words_of(steps, text);
      for (std::size_t from = 0; from <= text.size(); ++from) {
        const std::size_t cut = safe_cut(text, from);
        ASSERT_GE(cut, from);
        Words parts = words_of(steps, std::string_view(text).substr(0, cut));
        for (const std::string& word : words_of(steps, std::string_view(text).substr(cut))) {
          parts.push_back(word);
        }
        ASSERT_EQ(parts, whole) << "cut at " << cut << " of " << text;
        if (cut < text.size()) ++cuts;
      }
    }
    EXPECT_GT(cuts, 2000);
  }
}

TEST(Words, ASafeCutIsBetweenALetterAndASpaceOrBehindALineEnd) {
  EXPECT_EQ(safe_cut("ab cd", 0), 2U);
  EXPECT_EQ(safe_cut("ab cd", 2), 2U);
  EXPECT_EQ(safe_cut("ab cd", 3), 5U);
  EXPECT_EQ(safe_cut("  \n ab", 1), 6U);
  EXPECT_EQ(safe_cut("\u3000 a b", 1), 5U);  // not between two spaces
  EXPECT_EQ(safe_cut("ab\ncd", 0), 2U);
  EXPECT_EQ(safe_cut("a. b\n", 1), 4U);  // not after a sign
  EXPECT_EQ(safe_cut("a.\nb", 1), 3U);
  EXPECT_EQ(safe_cut("a. \nb", 1), 5U);  // " \n" is two words before a letter, one at the end
}

}  // namespace
}  // namespace frugal
