"""Tokenizers and shards that cannot be used: exit code 4, one message, and run.json says that it failed."""

import shutil

from support import DATA, FRUGAL, MPIRUN, TINY, TestCase, main


class DataErrors(TestCase):
    def shards(self):
        shutil.copytree(DATA / "train", self.dir / "train")
        return self.dir / "train/00000.tokens"

    def train_on_copy(self, *overrides, ranks=1):
        return self.train(f"data.train=[{{path: {self.dir}/train}}]", *overrides, ranks=ranks)

    def test_missing_shards(self):
        shard = self.shards()
        shard.unlink()
        self.assert_fails(self.train_on_copy(ranks=2), 4, str(shard), "no token shards here", "frugal data build")
        self.assertEqual(("failed", 4), self.state())

    def test_missing_shards_of_thread_ranks(self):
        self.shards().unlink()
        self.assert_fails(self.train_on_copy("--ranks", "4"), 4, "no token shards here")
        self.assertEqual(("failed", 4), self.state())

    def test_shards_missing_for_one_rank_only(self):
        # As on a second host that lacks the data; the others have no reason to end.
        own = ["-np", "1", FRUGAL, "train", TINY, f"run.dir={self.dir}", "data.train=[{path: train}]"]
        result = self.start(*MPIRUN, *own, ":", "-wdir", self.elsewhere(), *own).wait()
        self.assert_fails(result, 4, "train/00000.tokens", "no token shards here")
        self.assertEqual(("failed", 4), self.state())

    def elsewhere(self):
        folder = self.dir / "host"
        folder.mkdir()
        for name in ("tokenizer", "validation"):
            (folder / name).symlink_to(DATA / name)
        return folder

    def test_missing_validation_shards(self):
        self.assert_fails(self.train("data.validation=[{path: nothing}]"), 4, "nothing/00000.tokens")

    def test_truncated_shard(self):
        shard = self.shards()
        whole = shard.read_bytes()
        for length, why in ((len(whole) - 1, f"{len(whole) - 1} bytes instead of {len(whole)}"),
                            (40, "cut off in its header"), (0, "not a token shard")):
            shard.write_bytes(whole[:length])
            self.assert_fails(self.train_on_copy(), 4, str(shard), why, "frugal data build")

    def test_a_token_beyond_the_vocabulary(self):
        shard = self.shards()
        content = bytearray(shard.read_bytes())
        middle = len(content) // 2 // 2 * 2
        content[middle:middle + 2000] = b"\xff" * 2000  # ids 65535, met in the first epoch
        shard.write_bytes(content)
        self.assert_fails(self.train_on_copy("train.steps=200", "eval.interval=0", ranks=2), 4, str(shard), "has id 65535",
                          "its vocabulary has only 300", "frugal data build")
        inspected = self.frugal("data", "inspect", "--verify", self.dir / "train")
        self.assert_fails(inspected, 4, "the data is damaged (wrong checksum)")

    def test_a_tokenizer_that_does_not_belong_to_the_shards(self):
        self.assert_fails(self.train("tokenizer.path=other-tokenizer", ranks=2), 4, "train: made with another tokenizer (digest ",
                          "than the run's (", "frugal data build")

    def test_a_missing_or_broken_tokenizer(self):
        self.assert_fails(self.train("tokenizer.path=nowhere"), 4, "nowhere/tokenizer.json", "No such file",
                          "frugal tokenizer train")
        (self.dir / "tokenizer.json").write_text("{}")
        self.assert_fails(self.train(f"tokenizer.path={self.dir}"), 4, "tokenizer.json")

    def test_an_output_folder_that_cannot_be_written(self):
        (self.dir / "file").write_text("")
        self.assert_fails(self.train(f"run.dir={self.dir}/file", ranks=2), 4, "file/run/checkpoints", "cannot be created",
                          "set another run.dir")


if __name__ == "__main__":
    main()
