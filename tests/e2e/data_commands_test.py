"""frugal tokenizer and frugal data: text to ids and back, shards, and input that is not there."""

import json
import os

from support import DATA, SOURCE, TestCase, main

GOLDEN = SOURCE / "tests/golden/tokenizer"


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

    def test_tokenizers_of_other_families(self):
        for family in ("gpt2", "llama3", "qwen2", "deepseek_v3", "deepseek_coder", "smollm2"):
            case = json.loads((GOLDEN / family / "cases.json").read_text())[6]
            result = self.frugal("tokenizer", "encode", "--tokenizer", GOLDEN / family, stdin=case["text"])
            self.assert_code(0, result)
            self.assertEqual(case["ids"], [int(word) for word in result.text.split()])
            back = self.frugal("tokenizer", "decode", "--tokenizer", GOLDEN / family, stdin=result.text)
            self.assertEqual(case["text"], back.text)

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


class ChatCommands(TestCase):
    def samples(self, *extra):
        turns = lambda *texts: json.dumps({"messages": [
            {"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, texts)]})
        lines = [turns(f"count {i}", f"{i} and {i + 1}", "more", "no") for i in range(40)]
        path = self.dir / "samples.jsonl"
        path.write_text("".join(f"{line}\n" for line in [*lines, *extra]))
        return path

    def build(self, *arguments, format="chat", length=64):
        return self.frugal("data", "build", "--format", format, "--tokenizer", GOLDEN / "smollm2", "--output", self.dir / "out",
                           "--sequence-length", length, *arguments)

    def test_build_inspect_and_train(self):
        long = json.dumps({"messages": [{"role": "assistant", "content": "#" * 200}]})
        result = self.build("--input", self.samples(long), "--validation-fraction", "0.2")
        self.assert_code(0, result)
        self.assert_says(result, "40 samples as chatml", "1 samples left out: longer than 64 tokens")
        shards = self.dir / "out/train"
        self.assert_says(self.frugal("data", "inspect", shards, "--verify"), "packed for  data.sequence_length: 64",
                         "documents   33", "every checksum holds")
        result = self.frugal("data", "inspect", shards, "--sample", "0", "--tokenizer", GOLDEN / "smollm2")
        self.assertEqual("<|im_start|>user\ncount 0<|im_end|>\n<|im_start|>assistant\n[0 and 1<|im_end|>]\n"
                         "<|im_start|>user\nmore<|im_end|>\n<|im_start|>assistant\n[no<|im_end|>]\n\n", result.text)
        own = (f"data.train=[{{path: {shards}}}]", f"data.validation=[{{path: {self.dir}/out/validation}}]",
               f"tokenizer.path={GOLDEN}/smollm2", "data.sequence_length=64", "train.steps=4", "eval.batches=1",
               "batch.global_batch_size=4")
        self.assert_code(0, self.train(*own, "data.document_mask=true"))
        losses = [json.loads(line)["loss"] for line in (self.dir / "run/metrics.jsonl").read_text().splitlines()
                  if "loss" in json.loads(line)]
        self.assertTrue(losses and all(0 < loss < 10 for loss in losses), losses)
        self.assert_fails(self.train(*own, "run.name=b"), 4, "set data.document_mask to true")
        self.assert_fails(self.train(*own, "run.name=c", "data.document_mask=true", "data.sequence_length=32"), 4,
                          "packed for sequences of 64 tokens")

    def test_instructions(self):
        path = self.dir / "ask.jsonl"
        path.write_text("".join(json.dumps({"instruction": f"Say {i}", "input": "now", "output": f"{i}"}) + "\n" for i in range(9)))
        self.assert_code(0, self.build("--input", path, format="instruction"))
        result = self.frugal("data", "inspect", self.dir / "out/validation", "--sample", "0", "--tokenizer", GOLDEN / "smollm2")
        self.assertIn("user\nSay 8\n\nnow<|im_end|>\n<|im_start|>assistant\n[8<|im_end|>]", result.text)

    def test_a_sample_cannot_write_to_the_terminal(self):
        path = self.dir / "ask.jsonl"
        evil = "\u4e2d\x1b]0;title\x07\x1b[2J\u00e9"
        path.write_text(json.dumps({"instruction": evil, "output": evil}) + "\n")
        self.assert_code(0, self.build("--input", path, "--validation-fraction", "0", format="instruction"))
        result = self.frugal("data", "inspect", self.dir / "out/train", "--sample", "0", "--tokenizer", GOLDEN / "smollm2")
        shown = "\u4e2d\ufffd]0;title\ufffd\ufffd[2J\u00e9"
        self.assertIn(f"user\n{shown}<|im_end|>\n<|im_start|>assistant\n[{shown}<|im_end|>]", result.text)

    def test_bad_input(self):
        self.assert_fails(self.build("--input", self.samples("{oops")), 4, "samples.jsonl:41: not a JSON object")
        self.assertFalse((self.dir / "out/train").exists())
        path = self.samples()
        self.assert_fails(self.build("--input", path, format="instruction"), 4, 'samples.jsonl:1: "instruction" is missing')
        self.assert_fails(self.build("--input", path, length=4), 4, "no sample for training fits", "larger --sequence-length")
        self.assert_fails(self.build("--input", path, "--chat-format", "llama3"), 4, "no token <|begin_of_text|>")
        self.assert_fails(self.build("--input", path, "--chat-format", "x"), 2, "choose one of chatml")
        self.assert_fails(self.frugal("data", "build", "--format", "chat", "--input", path, "--tokenizer", GOLDEN / "smollm2",
                                      "--output", self.dir / "out"), 2, "needs --sequence-length")
        self.assert_fails(self.build("--input", path, format="text"), 2, "belong to --format chat and instruction")
        self.assert_code(0, self.build("--input", path))
        shards = self.dir / "out/train"
        self.assert_fails(self.frugal("data", "inspect", shards, "--sample", "0"), 2, "--sample needs --tokenizer")
        self.assert_fails(self.frugal("data", "inspect", shards, "--sample", "99", "--tokenizer", GOLDEN / "smollm2"), 2,
                          "--sample is 99, but", "has 38 documents")
        self.assert_fails(self.frugal("data", "inspect", shards, "--sample", "0", "--tokenizer", "tokenizer"), 4,
                          "made with another tokenizer")


if __name__ == "__main__":
    main()
