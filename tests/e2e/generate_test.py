"""frugal generate: text from a checkpoint of any layout, on any layout, decided by the seed alone."""

import shutil

from support import FRUGAL, MPIRUN, DATA, TestCase, main

DONE = DATA / "runs/done"


class Generate(TestCase):
    def text(self, *arguments, checkpoint=DONE):
        result = self.frugal("generate", "--checkpoint", checkpoint, "--prompt", "in the", "--max-new-tokens", "8", *arguments)
        self.assert_code(0, result)
        self.assertTrue(result.text.startswith("in the"), result.text)
        return self.without_speed(result)

    def without_speed(self, result):
        text, line, speed = result.text.rpartition("\nprompt: ")
        self.assertRegex(speed, r"^\d+ tokens, \S+ s; then \d+ tokens, \S+ tok/s\n$")
        return text

    def test_the_seed_decides(self):
        self.assertEqual(self.text("--seed", "3"), self.text("--seed", "3"))
        self.assertNotEqual(self.text("--seed", "3"), self.text("--seed", "4"))
        self.assertEqual(self.text("--seed", "3", "--top-k", "5", "--top-p", "0.9"),
                         self.text("--seed", "3", "--top-k", "5", "--top-p", "0.9"))

    def test_greedy_needs_no_seed(self):
        greedy = self.text("--temperature", "0", "--seed", "1")
        self.assertEqual(greedy, self.text("--temperature", "0", "--seed", "2"))
        self.assertEqual(greedy, self.text("--top-k", "1", "--seed", "2"))

    def test_the_layout_of_the_training_does_not_matter(self):
        self.assert_code(0, self.train("parallelism.data=2", "parallelism.pipeline=2", ranks=4))
        self.assertEqual(self.text("--seed", "3"), self.text("--seed", "3", checkpoint=self.dir / "run"))

    def test_a_step_folder_and_no_prompt(self):
        old = DONE / "checkpoints/step-00000004"
        self.assertNotEqual(self.text("--seed", "3"), self.text("--seed", "3", checkpoint=old))
        self.assert_code(0, self.frugal("generate", "--checkpoint", old, "--max-new-tokens", "4"))

    def test_what_cannot_be_used(self):
        self.assert_fails(self.frugal("generate", "--checkpoint", self.dir / "none"), 4, "none: not a whole checkpoint")
        self.assert_fails(self.frugal("generate", "--checkpoint", DONE, "--tokenizer", "other-tokenizer"), 4,
                          "trained with another tokenizer", "--tokenizer")
        shutil.copytree(DONE, self.dir / "run")
        for data in (self.dir / "run/checkpoints").glob("*/data-*"):
            data.write_bytes(bytes(byte ^ 1 for byte in data.read_bytes()))
        self.assert_fails(self.frugal("generate", "--checkpoint", self.dir / "run"), 4, "data-00000-000.safetensors")
        self.assert_fails(self.frugal("generate", "--checkpoint", DONE, "parallelism.tensor=2"), 2,
                          "one replica takes tensor 2 ranks")
        self.assert_fails(self.frugal("generate", "--checkpoint", DONE, "data.sequence=2"), 2, "there is no key 'sequence'")

    def test_any_layout_gives_the_greedy_text(self):
        arguments = ("--temperature", "0", "--repetition-penalty", "1.3")
        one = self.text(*arguments)
        self.assertEqual(one, self.text(*arguments, "--ranks", "2", "parallelism.pipeline=2"))
        self.assertEqual(one, self.text(*arguments, "--ranks", "4", "parallelism.tensor=2", "parallelism.pipeline=2"))
        job = self.start(*MPIRUN, "-np", "2", FRUGAL, "generate", "--checkpoint", DONE, "--prompt", "in the",
                         "--max-new-tokens", "8", *arguments, "parallelism.tensor=2").wait()
        self.assert_code(0, job)
        self.assertEqual(one, self.without_speed(job))

    def test_several_prompts(self):
        result = self.frugal("generate", "--checkpoint", DONE, "--temperature", "0", "--max-new-tokens", "8",
                             "--prompt", "in the", "--prompt", "and he said")
        self.assert_code(0, result)
        first, second = self.without_speed(result).split("\n\n", 1)
        self.assertEqual(first, self.text("--temperature", "0"))
        self.assertTrue(second.startswith("and he said"), second)


if __name__ == "__main__":
    main()
