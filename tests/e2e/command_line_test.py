"""The command line itself: help, version, and what is not understood (exit code 2, one message, from one rank)."""

from support import FRUGAL, MPIRUN, SOURCE, TestCase, main

COMMANDS = ("train", "tokenizer", "data", "checkpoint", "generate", "config", "version")


class CommandLine(TestCase):
    def test_help(self):
        for arguments in (["help"], ["--help"], ["-h"]):
            result = self.frugal(*arguments)
            self.assert_code(0, result)
            self.assert_says(result, *COMMANDS)
        for command in COMMANDS:
            result = self.frugal(command, "--help")
            self.assert_code(0, result)
            self.assert_says(result, "Usage: frugal " + command)

    def test_version(self):
        for arguments in (["version"], ["--version"]):
            result = self.frugal(*arguments)
            self.assert_code(0, result)
            self.assertRegex(result.text, r"^frugal \d+\.\d+\.\d+\n$")

    def test_an_unknown_command(self):
        self.assert_fails(self.frugal("trian"), 2, "there is no command 'trian'", "did you mean 'train'?")
        self.assert_fails(self.frugal("bake"), 2, "there is no command 'bake'; there is ", *COMMANDS)
        self.assert_fails(self.frugal("tokenizer", "encoed"), 2, "encoed", "did you mean 'encode'?")
        self.assert_fails(self.frugal(), 2, "a command is missing", *COMMANDS)

    def test_bad_flags(self):
        for arguments, why in ((["train"], "config is required"),
                               (["train", "a.yaml", "--wrong"], "--wrong"),
                               (["train", "a.yaml", "--ranks", "0"], "--ranks"),
                               (["train", "a.yaml", "--ranks", "two"], "--ranks"),
                               (["tokenizer", "train", "--output", "x"], "--input is required"),
                               (["tokenizer", "train", "--input", "x", "--output", "y", "--vocab-size", "5"], "--vocab-size"),
                               (["data", "build", "--validation-fraction", "2"], "--validation-fraction"),
                               (["generate", "--checkpoint", "x", "--top-p", "7"], "--top-p"),
                               (["checkpoint", "verify"], "dir is required")):
            with self.subTest(arguments):
                self.assert_fails(self.frugal(*arguments), 2, why)

    def test_one_rank_speaks_for_all(self):
        self.assert_fails(self.start(*MPIRUN, "-np", "3", FRUGAL, "trian").wait(), 2, "there is no command 'trian'")
        result = self.start(*MPIRUN, "-np", "3", FRUGAL, "version").wait()
        self.assert_code(0, result)
        self.assertEqual(1, result.text.count("frugal "))

    def test_ranks_as_threads_under_mpirun(self):
        self.assert_fails(self.train("--ranks", "2", ranks=2), 2, "--ranks 2 starts ranks as threads", "leave it out")

    def test_the_key_reference_is_the_page(self):
        result = self.frugal("config", "reference")
        self.assert_code(0, result)
        self.assertEqual((SOURCE / "configs/README.md").read_text(), result.text)


if __name__ == "__main__":
    main()
