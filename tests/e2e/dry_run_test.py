"""train --dry-run: layout, bytes, schedule and bubble, and nothing made; the configs that we ship."""

import os

from support import SOURCE, TestCase, main

SHIPPED = sorted(path.name for path in (SOURCE / "configs").glob("*.yaml"))


class DryRun(TestCase):
    def test_layout_memory_schedule_and_bubble(self):
        result = self.train("--dry-run", "parallelism.pipeline=4", "parallelism.data=2", "train.lanes=2")
        self.assert_code(0, result)
        self.assert_says(result, "layout: data 2 x pipeline 4 x tensor 1, 1f1b, zero 1 (8 ranks)",
                         "8 sequences of 16 tokens, micro-batches of 1", "schedule 1f1b: 4 stages, 4 micro-batches per step",
                         "weights", "gradients", "optimizer", "activations", "workspace", "KiB")
        # (P - 1) / (M + P - 1) for equal stages; ours are nearly so.
        bubble = float(result.text.split("predicted bubble: ")[1].split(" %")[0])
        self.assertAlmostEqual(100 * 3 / 7, bubble, delta=12)
        drawn = [line for line in result.text.splitlines() if line.startswith("  pipeline rank ")]
        self.assertEqual(4, len(drawn), result.text)
        self.assertEqual([], os.listdir(self.dir))

    def test_under_mpirun_one_rank_speaks(self):
        result = self.train("--dry-run", ranks=2)
        self.assert_code(0, result)
        self.assertEqual(1, result.text.count("layout: "))

    def test_a_layout_that_cannot_be(self):
        self.assert_fails(self.train("--dry-run", "parallelism.pipeline=11"), 2, "cannot all get work")

    def test_shipped_configs(self):
        self.assertEqual(["debug.yaml", "gpt2-124m.yaml", "kjv-llama.yaml", "llama-1b.yaml", "smollm2-kjv.yaml"], SHIPPED)
        # In place of the model that scripts/finetune_demo.sh fetches.
        small = [f"model.init_from={SOURCE}/tests/golden/hf/llama3", "data.sequence_length=32"]
        for name in SHIPPED:
            with self.subTest(name):
                # The tokenizer is all that a dry run reads of the data.
                result = self.train("--dry-run", "device=cpu", "tokenizer.path=tokenizer",
                                    *(small if name == "smollm2-kjv.yaml" else []), config=SOURCE / "configs" / name)
                self.assert_code(0, result)
                self.assert_says(result, "layout: ", "predicted bubble: ")

    def test_plans_need_no_gpu_but_trainings_do(self):
        on_gpu, on_cpu = self.train("--dry-run", "device=cuda"), self.train("--dry-run", "device=cpu")
        self.assert_code(0, on_gpu)
        self.assertRegex(on_gpu.text, r"total +host\n")  # memory beside the GPU
        self.assertRegex(on_cpu.text, r"total\n")
        self.assert_fails(self.train("device=cuda"), 3, "no CUDA backend", "set device: cpu")


if __name__ == "__main__":
    main()
