"""A config that cannot run: every problem at once, each at its place, exit code 2, before anything is made."""

import os

from support import TINY, TestCase, main


class ConfigErrors(TestCase):
    def config(self, *replacements, end="\n"):
        text = TINY.read_text()
        for old, new in replacements:
            self.assertIn(old, text)
            text = text.replace(old, new)
        path = self.dir / "bad.yaml"
        path.write_bytes(text.replace("\n", end).encode())
        return path

    def test_every_problem_at_once_with_line_and_caret(self):
        path = self.config(("  hidden_size: 32\n", "  hidden_size: 32\n  hidden_size: 64\n"),  # duplicate
                           ("num_hidden_layers", "num_hiden_layers"),  # misspelt
                           ("model:", "colour: red\nmodel:"),  # unknown
                           ("sequence_length: 16", "sequence_length: long"),  # mistyped
                           ("learning_rate: 3.0e-3", "learning_rate: -1"))  # out of range
        result = self.train("train.stepz=3", config=path)
        self.assert_fails(result, 2,
                          "bad.yaml:3:1: there is no key 'colour'", "    colour: red\n    ^\n",
                          "bad.yaml:7:3: key 'hidden_size' is set twice, first in line 6",
                          "there is no key 'num_hiden_layers'", "did you mean 'model.num_hidden_layers'?",
                          "data.sequence_length: expected", "found 'long'",
                          "optimizer.learning_rate: expected a number above 0", "found '-1'",
                          "override 2: there is no key 'stepz' in 'train'; did you mean 'train.steps'?")
        self.assertEqual(["bad.yaml"], os.listdir(self.dir))

    def test_misspelt_section_of_an_override(self):
        self.assert_fails(self.train("traim.steps=3"), 2, "there is no key 'traim.steps'", "did you mean 'train.steps'?")
        self.assert_fails(self.train("steps=3"), 2, "there is no key 'steps'", "did you mean 'train.steps'?")
        self.assert_fails(self.train("3"), 2, "an override is written section.key=value")

    def test_sizes_that_do_not_divide(self):
        result = self.train("model.num_attention_heads=3", "batch.global_batch_size=9", "batch.micro_batch_size=2",
                            "model.intermediate_size=63", "parallelism.tensor=2", ranks=2)
        self.assert_fails(result, 2, "model.hidden_size 32 is not a multiple of model.num_attention_heads 3",
                          "batch.global_batch_size 9 is not a multiple of micro_batch_size 2",
                          "model.intermediate_size 63 is not a multiple of parallelism.tensor 2", "nearest: 62 or 64")

    def test_a_world_that_does_not_fit_the_layout_names_the_product(self):
        self.assert_fails(self.train("parallelism.pipeline=2", "parallelism.data=2", ranks=3), 2,
                          "the layout needs pipeline 2 x data 2 = 4 ranks, but the run has 3 ranks", "start 4")
        self.assert_fails(self.train("--ranks", "6", "parallelism.pipeline=2", "parallelism.tensor=2"), 2,
                          "one replica takes pipeline 2 x tensor 2 = 4 ranks, but the run has 6 ranks", "start 4 or 8")

    def test_a_vocabulary_smaller_than_the_tokenizer(self):
        self.assert_fails(self.train("model.vocab_size=200"), 4, "model.vocab_size is 200", "tokenizer has 300 tokens")

    def test_a_model_too_large_for_the_machine(self):
        result = self.train("model.hidden_size=65536", "model.intermediate_size=262144", "model.num_hidden_layers=1000", ranks=2)
        self.assert_fails(result, 3, "the run needs about ", "PiB on this host (2 ranks), where ", " are free; the largest part of a rank is ",
                          "no smaller micro-batch fits", "--dry-run shows")

    def test_files_that_are_no_configs(self):
        self.assert_fails(self.train(config=self.dir / "none.yaml"), 2, "none.yaml", "No such file")
        self.assert_fails(self.train(config=self.dir), 2, "Is a directory")
        (self.dir / "bytes.yaml").write_bytes(bytes(range(256)))
        self.assert_fails(self.train(config=self.dir / "bytes.yaml"), 2, "bytes.yaml", "plain UTF-8")
        (self.dir / "open.yaml").write_text("model: {hidden_size: 3\n")
        self.assert_fails(self.train(config=self.dir / "open.yaml"), 2, "open.yaml", "'{' before here is not closed")

    def test_windows_line_ends_and_byte_order_mark_are_read(self):
        path = self.config(end="\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        self.assert_code(0, self.train("--dry-run", config=path))


if __name__ == "__main__":
    main()
