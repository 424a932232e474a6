"""LoRA as a user meets it: adapters beside an exported base, resumed, generated from, merged, handed to PEFT and back."""

import json
import shutil
import struct

from support import DATA, TestCase, flip_byte, main

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj"]


def header(path):
    """Of a safetensors file."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8:8 + size])


class Lora(TestCase):
    def setUp(self):
        super().setUp()
        self.base = self.dir / "base"
        self.assert_code(0, self.export(DATA / "runs/done", self.base, "hf", "--dtype", "f32"))

    def export(self, source, output, form, *arguments):
        return self.frugal("checkpoint", "export", source, "--format", form, "--output", output, *arguments)

    def lora(self, *overrides, ranks=1):
        """Beside the exported base, whose model it has."""
        config = self.dir / "lora.yaml"
        config.write_text(f"""
run: {{ name: run }}
model: {{ init_from: {self.base} }}
lora: {{ rank: 4 }}
tokenizer: {{ path: tokenizer }}
data:
  train: [{{ path: train }}]
  validation: [{{ path: validation }}]
  sequence_length: 16
batch: {{ micro_batch_size: 1, global_batch_size: 8 }}
precision: {{ compute: fp32 }}
optimizer: {{ learning_rate: 1.0e-2 }}
scheduler: {{ name: constant }}
train: {{ steps: 8, determinism: ordered, lanes: 4, threads: 1 }}
checkpoint: {{ interval: 4 }}
eval: {{ interval: 4, batches: 4 }}
sample: {{ interval: 4, prompts: ["in the"], max_new_tokens: 8, temperature: 0 }}
""")
        return self.train(*overrides, ranks=ranks, config=config)

    def greedy(self, checkpoint, *arguments):
        result = self.frugal("generate", "--checkpoint", checkpoint, "--prompt", "in the", "--max-new-tokens", "8",
                             "--temperature", "0", *arguments)
        self.assert_code(0, result)
        return result.text.rpartition("\nprompt: ")[0]

    def eval_losses(self, name="run"):
        rows = map(json.loads, (self.dir / name / "metrics.jsonl").read_text().splitlines())
        return [row["validation_loss"] for row in rows if "validation_loss" in row]

    def test_trains_adapters_alone_and_resumes_to_the_same_bits(self):
        result = self.lora()
        self.assert_code(0, result)
        self.assert_says(result, "of which 0.00M are trained (LoRA)", f"weights from {self.base}, F32")
        at_4, at_8 = self.eval_losses()
        self.assertLess(at_8, at_4)
        checkpoint = self.dir / "run/checkpoints/step-00000008"
        names = set(header(checkpoint / "data-00000-000.safetensors")) - {"__metadata__"}
        self.assertTrue(all(".lora_" in name for name in names), names)
        self.assertEqual(len(names), 3 * 2 * len(TARGETS) * 4)  # three kinds, A and B, four layers
        # On another layout, stopped halfway.
        self.assert_code(0, self.lora("run.name=other", "train.steps=4", "parallelism.data=2", "parallelism.pipeline=2", ranks=4))
        result = self.lora("run.name=other")
        self.assert_code(0, result)
        self.assert_says(result, "resumed at step 4")
        self.assert_equal_runs(self.dir / "run", self.dir / "other")

    def test_resumes_beside_its_own_base_only(self):
        self.assert_code(0, self.lora("train.steps=4"))
        moved = self.dir / "moved"
        self.base.rename(moved)
        self.base = moved
        self.assert_code(0, self.lora("train.steps=5"))
        flip_byte(moved / "model.safetensors", (moved / "model.safetensors").stat().st_size - 2)
        self.assert_fails(self.lora(), 4, "weights of model.init_from: checkpoint", "this checkpoint is of another run")
        self.assert_fails(self.frugal("generate", "--checkpoint", self.dir / "run"), 4, "is not the base model beside which")
        self.assert_fails(self.lora("lora.alpha=3"), 4, "lora.alpha: checkpoint 16.0, config 3.0")

    def test_generates_and_merges(self):
        self.assert_code(0, self.lora("optimizer.learning_rate=0.1"))
        run = self.dir / "run"
        text = self.greedy(run)
        self.assertNotEqual(text, self.greedy(self.base, "--tokenizer", "tokenizer"))
        self.assertEqual(text, self.greedy(run, "--ranks", "4", "parallelism.tensor=2", "parallelism.pipeline=2"))
        for form, output in (("hf", self.dir / "merged"), ("gguf", self.dir / "merged.gguf")):
            self.assert_code(0, self.export(run, output, form))
            self.assertEqual(text, self.greedy(output, "--tokenizer", "tokenizer"))

    def test_peft_out_and_in(self):
        self.assert_code(0, self.lora())
        adapter = self.dir / "adapter"
        self.assert_code(0, self.export(self.dir / "run", adapter, "peft"))
        self.assertEqual(json.loads((adapter / "adapter_config.json").read_text())["target_modules"], TARGETS)
        self.assertIn("base_model.model.model.layers.3.self_attn.o_proj.lora_B.weight", header(adapter / "adapter_model.safetensors"))
        # A new run begins where the old one ended.
        result = self.lora("run.name=more", f"lora.init_from={adapter}", "train.steps=1", "optimizer.learning_rate=1e-9")
        self.assert_code(0, result)
        self.assert_says(result, f"adapters from {adapter}")
        self.assertEqual(self.greedy(self.dir / "run"), self.greedy(self.dir / "more"))
        self.assert_fails(self.lora("run.name=wrong", f"lora.init_from={adapter}", "lora.rank=8"), 2, "lora.rank is 8 here, but 4 in")

    def test_what_cannot_be(self):
        self.assert_fails(self.train("lora.rank=4"), 2, "lora.rank is set, but model.init_from is not")
        self.assert_fails(self.export(DATA / "runs/done", self.dir / "a", "peft"), 2, "is not of a LoRA run and has no adapters")
        shutil.rmtree(self.base)
        self.assert_fails(self.lora(), 4, "does not exist")


if __name__ == "__main__":
    main()
