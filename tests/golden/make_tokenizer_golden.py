#!/usr/bin/env python3
"""Writes tests/golden/tokenizer/cases.json: texts and their ids by Hugging Face's `tokenizers`, which reads our file.

tests/golden/tokenizer/tokenizer.json is what Frugal trains on training.txt with a vocabulary of 640; this script
fails unless Hugging Face's trainer learns the same merges.
Usage: pip install tokenizers==0.23.3, then tests/golden/make_tokenizer_golden.py
"""
import json
import random
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

HERE = Path(__file__).resolve().parent / "tokenizer"
CASES = [
    "", " ", "\n", "  \n\n  ", "a", "In the beginning God created the heaven and the earth.",
    "I'm sure they're what he'd've said; 's 'll ''d !'s o'clock 'S 'LL", "x  y   z\n\n\nw \t\tv\r\nu \n", "trailing  ",
    "12 345,678.90 a1b2 \u0661\u0662 \u2167\u00bd", "<|endoftext|>", "a<|endoftext|>b", "a <|endoftext|>  <|endoftext|>\n",
    "<|endoftext|", "<|<|endoftext|>|>", "\u4f60\u597d\uff0c\u4e16\u754c\u3000\u3000x", "\u00a0\u2003 x\u2028y\u0085z",
    "e\u0301 \u0301 n\u0303", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467", "\ufeffbom \x00\x1c\x7f", "a" * 300,
    "abcabc" * 40, " ".join(["And the Spirit of God moved"] * 20),
]


def random_text(generator):
    alphabet = list("aest'lrvdm 0\n\t  !") + ["<|endoftext|>", "\u3000", "\u00e9", "\u4e2d", "\u2167", "\U0001f600", "the"]
    return "".join(generator.choice(alphabet) for _ in range(60))


def main():
    ours = json.loads((HERE / "tokenizer.json").read_text())["model"]
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.train_from_iterator([(HERE / "training.txt").read_text()], trainers.BpeTrainer(
        vocab_size=len(ours["vocab"]), special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    merges = [" ".join(pair) for pair in json.loads(theirs.to_str())["model"]["merges"]]
    assert merges == ours["merges"], "Hugging Face's trainer learns other merges"

    tokenizer = Tokenizer.from_file(str(HERE / "tokenizer.json"))
    generator = random.Random(1)
    texts = CASES + [random_text(generator) for _ in range(40)]
    cases = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text
        cases.append({"text": text, "ids": ids})
    lines = ",\n".join(json.dumps(case) for case in cases)
    (HERE / "cases.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
