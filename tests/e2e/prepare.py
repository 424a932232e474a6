"""Makes what the tests stand on, with the program itself: text, two tokenizers, shards, and a finished run."""

import random
import shutil
import subprocess

from support import DATA, FRUGAL, TINY


def text(seed, documents):
    """Sentences that a tiny model can learn something of; the same on every machine."""
    words = ("in the beginning god created heaven and earth light darkness day night waters said let there be it was "
             "so good evening morning first").split()
    draw = random.Random(seed)
    sentence = lambda: " ".join(draw.choices(words, k=12)).capitalize() + ".\n"
    return "<|endoftext|>".join("".join(sentence() for _ in range(12)) for _ in range(documents))


def run(*arguments):
    subprocess.run([FRUGAL, *arguments], cwd=DATA, check=True, timeout=60)


def main():
    shutil.rmtree(DATA.parent, ignore_errors=True)
    DATA.mkdir(parents=True)
    (DATA / "corpus.txt").write_text(text(1, 60))
    (DATA / "other.txt").write_text(text(2, 60).replace("e", "ee"))
    run("tokenizer", "train", "--input", "corpus.txt", "--vocab-size", "300", "--output", "tokenizer")
    run("tokenizer", "train", "--input", "other.txt", "--vocab-size", "300", "--output", "other-tokenizer")
    run("data", "build", "--input", "corpus.txt", "--tokenizer", "tokenizer", "--output", ".")
    run("train", str(TINY), "run.name=done")


if __name__ == "__main__":
    main()
