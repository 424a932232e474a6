"""frugal checkpoint export: from a finished run to a folder, from the folder to a new run, and to GGUF."""

import json
import shutil
import struct

from support import DATA, FRUGAL, TestCase, main


def header(path):
    """The JSON header of a safetensors file, without its metadata."""
    with open(path, "rb") as file:
        found = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    assert found.pop("__metadata__") == {"format": "pt"}
    return found


class Export(TestCase):
    def setUp(self):
        super().setUp()
        self.run_folder = self.copy_done_run()

    def export(self, *arguments, format="hf", output="model"):
        return self.frugal("checkpoint", "export", self.run_folder, "--format", format, "--output", self.dir / output, *arguments)

    def test_a_folder(self):
        result = self.export()
        self.assert_code(0, result)
        self.assert_says(result, "39 tensors", "of f32, from step 8")  # precision.compute: fp32
        folder = self.dir / "model"
        self.assertEqual(["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"],
                         sorted(path.name for path in folder.iterdir()))
        self.assertEqual((DATA / "tokenizer/tokenizer.json").read_bytes(), (folder / "tokenizer.json").read_bytes())
        config = json.loads((folder / "config.json").read_text())
        self.assertEqual(("llama", 32, 4, 300, "float32"), tuple(
            config[key] for key in ("model_type", "hidden_size", "num_hidden_layers", "vocab_size", "torch_dtype")))
        tensors = header(folder / "model.safetensors")
        self.assertEqual([300, 32], tensors["model.embed_tokens.weight"]["shape"])
        self.assertEqual([300, 32], tensors["lm_head.weight"]["shape"])

    def test_shards_and_dtype(self):
        self.assert_code(0, self.export("--dtype", "bf16", "--max-shard-bytes", "30000"))
        places = json.loads((self.dir / "model/model.safetensors.index.json").read_text())["weight_map"]
        self.assertEqual(39, len(places))
        held = {name: file for file in set(places.values()) for name in header(self.dir / "model" / file)}
        self.assertEqual(places, held)

    def test_gguf(self):
        result = self.export("--dtype", "q8_0", format="gguf", output="model.gguf")
        self.assert_code(0, result)
        self.assert_says(result, "of q8_0")
        content = (self.dir / "model.gguf").read_bytes()
        self.assertEqual(b"GGUF" + struct.pack("<IQ", 3, 39), content[:16])
        for text in (b"general.architecture", b"llama.block_count", b"tokenizer.ggml.merges", b"blk.3.ffn_down.weight"):
            self.assertIn(text, content)

    def test_what_is_refused(self):
        self.assert_fails(self.export("--dtype", "q8_0"), 2, "dtype 'q8_0': hf has bf16, f16 and f32")
        self.assert_fails(self.export(format="onnx"), 2, "onnx")
        self.assert_fails(self.export("--max-shard-bytes", "0"), 2, "--max-shard-bytes")
        self.assertFalse((self.dir / "model").exists())
        self.assert_code(0, self.export())
        self.assert_fails(self.export(), 2, "model: exists and is not overwritten")
        (self.run_folder / "checkpoints/step-00000008/data-00000-000.safetensors").unlink()
        self.assert_fails(self.export(output="other"), 4, "data-00000-000.safetensors")
        self.assertFalse((self.dir / "other").exists())

    def test_another_tokenizer(self):
        elsewhere = self.dir / "elsewhere"
        elsewhere.mkdir()
        command = [FRUGAL, "checkpoint", "export", self.run_folder, "--format", "hf", "--output", self.dir / "model"]
        self.assert_fails(self.start(*command, cwd=elsewhere).wait(), 4,
                          "tokenizer: holds no tokenizer.json", "start this command where the run was started")
        shutil.copytree(DATA / "other-tokenizer", elsewhere / "tokenizer")
        self.assert_fails(self.start(*command, cwd=elsewhere).wait(), 4,
                          "tokenizer: is another tokenizer than the one of the training")
        self.assertFalse((self.dir / "model").exists())
        shutil.rmtree(elsewhere / "tokenizer")
        shutil.copytree(DATA / "tokenizer", elsewhere / "tokenizer")
        self.assert_code(0, self.start(*command, cwd=elsewhere).wait())


if __name__ == "__main__":
    main()
