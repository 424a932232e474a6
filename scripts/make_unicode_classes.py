#!/usr/bin/env python3
"""Prints trainer/data/unicode_classes.inc: ranges of code points above ASCII that are letters (\\p{L}), marks (\\p{M}),
numbers (\\p{N}), punctuation (\\p{P}), symbols (\\p{S}) or white space (\\s).

Usage: pip install unicodedata2==16.0.0, then make_unicode_classes.py > trainer/data/unicode_classes.inc
"""
import unicodedata2

# The White_Space property (PropList.txt) above ASCII; Python's isspace() is another set.
SPACES = {0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}
NAMES = {"L": "kLetter", "M": "kMark", "N": "kNumber", "P": "kPunctuation", "S": "kSymbol", "space": "kSpace"}


def main():
    ranges = []
    for code in range(0x80, 0x110000):
        kind = "space" if code in SPACES else unicodedata2.category(chr(code))[0]
        if kind not in NAMES:
            continue
        if ranges and ranges[-1][1] == code - 1 and ranges[-1][2] == kind:
            ranges[-1][1] = code
        else:
            ranges.append([code, code, kind])
    print(f"// Made by scripts/make_unicode_classes.py from Unicode {unicodedata2.unidata_version}: first, last, class.")
    for first, last, kind in ranges:
        print(f"{{0x{first:04X}, 0x{last:04X}, {NAMES[kind]}}},")


if __name__ == "__main__":
    main()
