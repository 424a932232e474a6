"""frugal checkpoint inspect and verify."""

from support import TestCase, flip_byte, main


class CheckpointCommands(TestCase):
    def setUp(self):
        super().setUp()
        self.newest = self.copy_done_run() / "checkpoints/step-00000008"

    def test_inspect(self):
        result = self.frugal("checkpoint", "inspect", self.newest)
        self.assert_code(0, result)
        self.assert_says(result, "step       8\n", "run        done\n", "data 1 x pipeline 1 x tensor 1", "model.hidden_size",
                         "tokens", "1024", "bytes\n")

    def test_verify(self):
        result = self.frugal("checkpoint", "verify", self.newest)
        self.assert_code(0, result)
        self.assert_says(result, "every checksum holds")

    def test_a_run_folder_is_its_newest_checkpoint(self):
        for command in ("inspect", "verify"):
            result = self.frugal("checkpoint", command, self.dir / "run")
            self.assert_code(0, result)
            self.assert_says(result, "checkpoints/step-00000008")

    def test_a_flipped_byte_in_any_file_is_found(self):
        for path in sorted(self.newest.iterdir()):
            size = path.stat().st_size
            for at in (0, size // 2, size - 1):
                with self.subTest(file=path.name, at=at):
                    flip_byte(path, at)
                    self.assert_fails(self.frugal("checkpoint", "verify", self.newest), 4, path.name)
                    flip_byte(path, at)
        self.assert_code(0, self.frugal("checkpoint", "verify", self.newest))

    def test_a_missing_or_short_file_is_found(self):
        data = self.newest / "data-00000-000.safetensors"
        content = data.read_bytes()
        data.write_bytes(content[:-1])
        self.assert_fails(self.frugal("checkpoint", "verify", self.newest), 4, data.name)
        data.unlink()
        self.assert_fails(self.frugal("checkpoint", "verify", self.newest), 4, data.name, "No such file")

    def test_what_is_no_checkpoint(self):
        for command in ("inspect", "verify"):
            for path in (self.dir / "none", self.dir):
                self.assert_fails(self.frugal("checkpoint", command, path), 4, f"{path}: not a whole checkpoint: it has no COMMIT",
                                  "step-... folders")
            self.assert_fails(self.frugal("checkpoint", command, self.dir / "run/run.json"), 4, "run.json", "Not a directory")


if __name__ == "__main__":
    main()
