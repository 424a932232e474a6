#!/usr/bin/env python3
"""Writes texts and their ids by Hugging Face's `tokenizers`: tests/golden/tokenizer/cases.json for our own file and
tests/golden/tokenizer/FAMILY/{tokenizer.json,cases.json} for each family that is read, with a small vocabulary learned
here and the family's own settings. Also nfc.txt: a digest of form C of every code point.

tests/golden/tokenizer/tokenizer.json is what Frugal trains on training.txt with a vocabulary of 640; this script
fails unless Hugging Face's trainer learns the same merges.
Usage: pip install tokenizers==0.23.3 xxhash==3.6.0, then tests/golden/make_tokenizer_golden.py
"""
import json
import random
from pathlib import Path

import xxhash
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

HERE = Path(__file__).resolve().parent / "tokenizer"
CASES = [
    "", " ", "\n", "  \n\n  ", "a", "In the beginning God created the heaven and the earth.",
    "I'm sure they're what he'd've said; 's 'll ''d !'s o'clock 'S 'LL", "x  y   z\n\n\nw \t\tv\r\nu \n", "trailing  ",
    "12 345,678.90 a1b2 \u0661\u0662 \u2167\u00bd", "<|endoftext|>", "a<|endoftext|>b", "a <|endoftext|>  <|endoftext|>\n",
    "<|endoftext|", "<|<|endoftext|>|>", "\u4f60\u597d\uff0c\u4e16\u754c\u3000\u3000x", "\u00a0\u2003 x\u2028y\u0085z",
    "e\u0301 \u0301 n\u0303", "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467", "\ufeffbom \x00\x1c\x7f", "a" * 300,
    "abcabc" * 40, " ".join(["And the Spirit of God moved"] * 20),
]
# Where the families differ: cases of contractions, digits in threes and alone, line ends after signs, signs before
# letters, marks, kana and ideographs, numbers newer than the regular expressions' Unicode, order of marks.
FAMILY_CASES = [
    "DON'T I'Ve 'RE 'lL '\u017f 'M'd", "1234567 12a 1 22 333 4444 \u0967\u0968\u0969\u096a \u2460\u2461\u2462\u2463", "!!!\n\n\r\n?\n x.\n",
    "\n\n  \n\t if (x):\r\n\t\treturn {\"a\": [1, 2]};  \n", "$abc #include <a.h> @b ~c a_b `x`", "\tTabbed \u00a0nbsp\u3000ideo",
    "\u0915\u094d\u0937\u093f \u0301x \u0903", "\u3053\u3093\u306b\u3061\u306f\u30ab\u30bf\u30ab\u30ca\u6f22\u5b57kanji\u4e00\u9fa5\u9fa6\ud55c\uad6d\uc5b4 \uac00\uac01",
    "\U00011de3\U00016ff4x", "e\u0323\u0301 \u212b \u1100\u1161\u11a8 \uf900 a\u0315\u0300\u05ae\u0062", "\u0958\u0929\u0344\u2126", "\x01\x02a\x7f\u200bb \u00adc",
    "<|im_start|>user\nHi<|im_end|>\n<think>\n</think>", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nx<|eot_id|>",
    "<\uff5cbegin\u2581of\u2581sentence\uff5c>a<\uff5cUser\uff5c>b<\uff5cAssistant\uff5c><\uff5cend\u2581of\u2581sentence\uff5c>", "<think", "<thinking><tool_call>",
    "'\u017fun 'S \u017f", "x<a>b <a> <a>bc x<a <e\u0301> <\u00e9> <\u00e9",
]


def split(regex):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def byte_level(use_regex):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": use_regex, "use_regex": use_regex}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")
DEEPSEEK_WORDS = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^" "\r\n" r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[" "\r\n"
    r"]*|\s*[" "\r\n" r"]+|\s+(?!\S)|\s+").replace('\\"', '"')
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
LLAMA_BEGIN = "<|begin_of_text|>"


def template(token, id):
    special = lambda n: {"SpecialToken": {"id": token, "type_id": n}}
    text = lambda name, n: {"Sequence": {"id": name, "type_id": n}}
    return {"type": "TemplateProcessing", "single": [special(0), text("A", 0)],
            "pair": [special(0), text("A", 0), special(1), text("B", 1)],
            "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}}}


# family -> settings as in its tokenizer.json. `first`: special tokens that are the first of the vocabulary; `last`: added
# behind it, with the flags (special, normalized).
FAMILIES = {
    "gpt2": {"pre_tokenizer": byte_level(True), "last": [("<|endoftext|>", True, True)]},
    "llama3": {
        "pre_tokenizer": sequence(split(WORDS.replace("DIGITS", "{1,3}")), byte_level(False)), "ignore_merges": True,
        "last": [(name, True, False) for name in (LLAMA_BEGIN, "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                                  "<|eot_id|>")]},
    "qwen2": {
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": sequence(split(WORDS.replace("DIGITS", "")), byte_level(False)), "affixes": "",
        "last": [("<|endoftext|>", True, False), ("<|im_start|>", True, False), ("<|im_end|>", True, False),
                 ("<tool_call>", False, False), ("<think>", False, False), ("</think>", False, False)]},
    "deepseek_v3": {
        "normalizer": {"type": "Sequence", "normalizers": []},
        "pre_tokenizer": sequence(split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(DEEPSEEK_WORDS),
                                  byte_level(False)),
        "first": ["<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "<\uff5c\u2581pad\u2581\uff5c>"],
        "last": [("<\uff5cUser\uff5c>", False, True), ("<\uff5cAssistant\uff5c>", False, True), ("<think>", False, True)]},
    "deepseek_coder": {
        "pre_tokenizer": sequence(split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"),
                                  split("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"), {"type": "Digits", "individual_digits": True},
                                  byte_level(False)),
        "last": [("<\uff5cbegin\u2581of\u2581sentence\uff5c>", True, True), ("<\uff5cend\u2581of\u2581sentence\uff5c>", True, True)]},
    "added": {  # no model's: added tokens that overlap, or that only the normalised text has
        "normalizer": {"type": "NFC"}, "pre_tokenizer": byte_level(True),
        "last": [("<|endoftext|>", True, False), ("<a>", True, False), ("<a>b", False, False), ("x<a>", False, True),
                 ("<\u00e9>", False, True)]},
    "smollm2": {
        "pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, byte_level(True)),
        "first": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"]},
}


def added(id, content, special, normalized):
    return {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": normalized,
            "special": special}


def tokenizer_json(family, vocab, merges):
    """A tokenizer.json of this family with this vocabulary: {token: id}, ["left right"]."""
    settings = FAMILIES[family]
    tokens = [added(vocab[name], name, True, False) for name in settings.get("first", [])]
    for name, special, normalized in settings.get("last", []):
        tokens.append(added(len(vocab) + sum(token["id"] >= len(vocab) for token in tokens), name, special, normalized))
    processor = BYTE_LEVEL
    if family == "llama3":
        begin = next(token["id"] for token in tokens if token["content"] == LLAMA_BEGIN)
        processor = {"type": "Sequence", "processors": [BYTE_LEVEL, template(LLAMA_BEGIN, begin)]}
    affix = settings.get("affixes")
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": affix, "end_of_word_suffix": affix,
             "fuse_unk": False, "byte_fallback": False, "ignore_merges": settings.get("ignore_merges", False), "vocab": vocab,
             "merges": merges}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens,
            "normalizer": settings.get("normalizer"), "pre_tokenizer": settings["pre_tokenizer"], "post_processor": processor,
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}, "model": model}


def learn(family, texts, size):
    """A vocabulary whose merges go across words, so that a text that is split elsewhere has other tokens."""
    settings = FAMILIES[family]
    shell = json.loads(Tokenizer(models.BPE()).to_str())
    shell["pre_tokenizer"] = byte_level(False)
    shell["normalizer"] = settings.get("normalizer")
    tokenizer = Tokenizer.from_str(json.dumps(shell))
    names = [*settings.get("first", []), *(name for name, _, _ in settings.get("last", []))]
    texts = [text for text in texts if not any(name in text for name in names)]
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=size, special_tokens=settings.get("first", []), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(tokenizer.to_str())["model"]
    merges = [" ".join(pair) for pair in model["merges"]]
    if settings.get("ignore_merges"):  # a few words that no merge makes, as Llama 3 has them
        used = {part for merge in merges for part in merge.split(" ")}
        leaves = [merge for merge in merges if merge.replace(" ", "") not in used][:40]
        merges = [merge for merge in merges if merge not in leaves]
    return model["vocab"], merges


def random_text(generator):
    alphabet = list("aest'lrvdm 0\n\t  !") + ["<|endoftext|>", "\u3000", "\u00e9", "\u4e2d", "\u2167", "\U0001f600", "the"]
    return "".join(generator.choice(alphabet) for _ in range(60))


def family_text(generator):
    alphabet = list("aST'lrd 019\n\r\t  !.$_\x01") + ["\u3000", "e\u0301", "\u0323", "\u4e2d", "\u3042", "\u2167", "\ufffd", "the", "\ud55c"]
    return "".join(generator.choice(alphabet) for _ in range(40))


def write_cases(folder, tokenizer, texts, normalized=False):
    cases = []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert normalized or tokenizer.decode(ids, skip_special_tokens=False) == text
        cases.append({"text": text, "ids": ids})
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (folder / "cases.json").write_text(f"[\n{lines}\n]\n")


def nfc_digest():
    """XXH3-128 of form C of texts with each code point: alone, among marks, and each canonical pair behind an x."""
    form = normalizers.NFC()
    digest = xxhash.xxh3_128()
    for code in range(1, 0x110000):
        if not 0xD800 <= code < 0xE000:
            c = chr(code)
            digest.update(form.normalize_str(f"{c}a\u0345{c}\u0300a\u0327{c}\u0323{c}\u0338{c}\u0301\u0327x").encode())
    return digest.hexdigest()


def main():
    training = (HERE / "training.txt").read_text()
    ours = json.loads((HERE / "tokenizer.json").read_text())["model"]
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.train_from_iterator([training], trainers.BpeTrainer(
        vocab_size=len(ours["vocab"]), special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    merges = [" ".join(pair) for pair in json.loads(theirs.to_str())["model"]["merges"]]
    assert merges == ours["merges"], "Hugging Face's trainer learns other merges"

    generator = random.Random(1)
    write_cases(HERE, Tokenizer.from_file(str(HERE / "tokenizer.json")),
                CASES + [random_text(generator) for _ in range(40)])
    for family in FAMILIES:
        folder = HERE / family
        folder.mkdir(exist_ok=True)
        draw = random.Random(2)
        vocab, merges = learn(family, CASES + FAMILY_CASES * 3 + [family_text(draw) for _ in range(200)], 900)
        text = json.dumps(tokenizer_json(family, vocab, merges), ensure_ascii=False, separators=(",", ":"))
        (folder / "tokenizer.json").write_text(text)
        write_cases(folder, Tokenizer.from_str(text), CASES + FAMILY_CASES + [family_text(generator) for _ in range(40)],
                    normalized=True)
    (HERE / "nfc.txt").write_text(nfc_digest() + "\n")


if __name__ == "__main__":
    main()
