"""frugal tokenizer and frugal data: text to ids and back, shards, and input that is not there."""

import os

from support import DATA, TestCase, main


class TokenizerCommands(TestCase):
    def encode(self, text):
        result = self.frugal("tokenizer", "encode", "--tokenizer", "tokenizer", stdin=text)
        self.assert_code(0, result)
        return result.text

    def decode(self, ids):
        result = self.frugal("tokenizer", "decode", "--tokenizer", "tokenizer", stdin=ids)
        self.assert_code(0, result)
        return result.text

    def test_round_trip(self):
        for text in ("In the beginning God created", "Ünïcode, 漢字 and 🙂\n\n\ttabs ", "", "a<|endoftext|>b"):
            ids = self.encode(text)
            self.assertTrue(all(0 <= int(word) < 300 for word in ids.split()))
            self.assertEqual(text, self.decode(ids))
        self.assertLess(len(self.encode("in the beginning").split()), len("in the beginning"))

    def test_files_instead_of_standard_input(self):
        (self.dir / "text").write_text("heaven and earth")
        result = self.frugal("tokenizer", "encode", "--tokenizer", "tokenizer", "--input", self.dir / "text")
        self.assertEqual(self.encode("heaven and earth"), result.text)

    def test_the_same_text_gives_the_same_tokenizer(self):
        for threads in (1, 3):
            self.assert_code(0, self.frugal("tokenizer", "train", "--input", "corpus.txt", "--vocab-size", "300",
                                            "--threads", threads, "--output", self.dir / str(threads)))
            self.assertEqual((DATA / "tokenizer/tokenizer.json").read_bytes(),
                             (self.dir / str(threads) / "tokenizer.json").read_bytes())

    def test_bad_input(self):
        self.assert_fails(self.frugal("tokenizer", "train", "--input", "none.txt", "--output", self.dir), 4, "none.txt",
                          "No such file")
        self.assert_fails(self.frugal("tokenizer", "train", "--input", "corpus.txt", "--vocab-size", "90000", "--output",
                                      self.dir), 2, "the text gives no more than 364 tokens", "not 90000")
        self.assert_fails(self.frugal("tokenizer", "encode", "--tokenizer", "nowhere", stdin="x"), 4,
                          "nowhere/tokenizer.json", "No such file")
        self.assert_fails(self.frugal("tokenizer", "encode", "--tokenizer", "tokenizer", "--input", "none.txt"), 4, "none.txt")
        self.assert_fails(self.frugal("tokenizer", "encode", "--tokenizer", "tokenizer", "--input", "."), 4, ".: ",
                          "Is a directory")
        self.assert_fails(self.frugal("tokenizer", "decode", "--tokenizer", "tokenizer", stdin="1 two 3"), 4,
                          "word 2 is not a token id")
        self.assert_fails(self.frugal("tokenizer", "decode", "--tokenizer", "tokenizer", stdin="1 300"), 4,
                          "token id 300 is not one of the tokenizer's 0 to 299")
        (self.dir / "file").write_text("")
        self.assert_fails(self.frugal("tokenizer", "train", "--input", "corpus.txt", "--vocab-size", "300", "--output",
                                      self.dir / "file/inside"), 4, "file/inside: cannot be created", "choose another --output")


class DataCommands(TestCase):
    def build(self, *arguments):
        return self.frugal("data", "build", "--tokenizer", "tokenizer", "--output", self.dir / "out", *arguments)

    def test_build_and_inspect(self):
        self.assert_code(0, self.build("--input", "corpus.txt", "--validation-fraction", "0.2", "--threads", "2"))
        texts = []
        for part in ("train", "validation"):
            result = self.frugal("data", "inspect", "--verify", self.dir / "out" / part)
            self.assert_code(0, result)
            self.assert_says(result, "vocabulary  300", "every checksum holds")
            texts.append(int(result.text.split("text bytes")[1].split()[0]))
        size = os.path.getsize(DATA / "corpus.txt") - 59 * len("<|endoftext|>")
        self.assertAlmostEqual(0.2, texts[1] / sum(texts), delta=0.05)
        self.assertAlmostEqual(size, sum(texts), delta=15)

    def test_the_number_of_threads_does_not_matter(self):
        self.assert_code(0, self.build("--input", "corpus.txt", "--threads", "3"))
        for part in ("train", "validation"):
            self.assertEqual((DATA / part / "00000.tokens").read_bytes(),
                             (self.dir / "out" / part / "00000.tokens").read_bytes())

    def test_bad_input(self):
        self.assert_fails(self.build("--input", "none.txt"), 4, "none.txt", "No such file")
        self.assert_fails(self.build("--input", "."), 4, ".: ")
        (self.dir / "empty").write_text("")
        self.assert_fails(self.frugal("data", "build", "--tokenizer", "tokenizer", "--input", "corpus.txt", "--output",
                                      "corpus.txt"), 4, "corpus.txt")
        self.assert_fails(self.build("--input", self.dir / "empty"), 4, "the files hold no text")
        self.assert_fails(self.frugal("data", "inspect", self.dir), 4, "no token shards here")
        self.assert_code(0, self.build("--input", "corpus.txt"))
        self.assert_fails(self.build("--input", "corpus.txt"), 2, "already there: remove it or choose another --output")


if __name__ == "__main__":
    main()
