"""train.determinism ordered: metrics.jsonl is the same, bit for bit, whatever the ranks and however often it stopped."""

import json
import os
import signal

from support import DATA, TestCase, main

REFERENCE = DATA / "runs/done"  # one rank


class Determinism(TestCase):
    def assert_same(self, *overrides, ranks=1, tolerance=0.0):
        self.assert_code(0, self.train(*overrides, ranks=ranks))
        self.assert_equal_runs(self.dir / "run", REFERENCE, tolerance)

    def test_data_2_x_pipeline_2_under_mpi(self):
        self.assert_same("parallelism.data=2", "parallelism.pipeline=2", ranks=4)

    def test_four_thread_ranks(self):
        self.assert_same("--ranks", "4", "parallelism.pipeline=2", "parallelism.schedule=zb_h1")

    def test_one_rank_again(self):
        self.assert_same("memory.recompute=full")

    def test_a_stopped_run_goes_on_in_another_layout(self):
        job = self.start(*self.command("parallelism.pipeline=2", "checkpoint.interval=0", "train.steps=100000", ranks=2))
        job.wait_for("step 2/")
        os.kill(job.rank(1), signal.SIGUSR1)
        self.assert_code(75, job.wait())
        stopped = self.newest_step()
        steps = stopped + 3
        result = self.train("--ranks", "4", "parallelism.data=4", "parallelism.zero_stage=0", f"train.steps={steps}")
        self.assert_code(0, result)
        self.assert_says(result, f"resumed at step {stopped} ", "parallelism.data 1 -> 4")
        self.assert_as_if_uninterrupted(steps)

    def test_bfloat16(self):
        self.assert_code(0, self.train("precision.compute=bf16", "run.name=one"))
        self.assert_code(0, self.train("precision.compute=bf16", "run.name=two", "parallelism.pipeline=2", ranks=2))
        self.assert_equal_runs(self.dir / "one", self.dir / "two")

    def test_fp16_goes_on_through_overflows_in_another_layout(self):
        fp16 = ("precision.compute=fp16", "precision.initial_loss_scale=16777216", "precision.loss_scale_window=2",
                "train.steps=24")
        self.assert_code(0, self.train(*fp16, "run.name=whole"))
        self.assert_code(0, self.train(*fp16, "train.steps=12"))
        result = self.train(*fp16, "parallelism.pipeline=2", ranks=2)
        self.assert_code(0, result)
        self.assert_says(result, "resumed at step 12 ")
        self.assert_equal_runs(self.dir / "whole", self.dir / "run")
        lines = [json.loads(line) for line in (self.dir / "run/metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if "loss" in line]
        self.assertEqual(2.0**24, steps[0]["loss_scale"])
        for before, after in zip(steps, steps[1:]):
            self.assertEqual(before["skipped"], after["loss_scale"] < before["loss_scale"], after)
        for half in (steps[:12], steps[12:]):
            self.assertIn(True, [line["skipped"] for line in half])

    def test_tensor_2_within_a_tolerance(self):
        self.assert_same("parallelism.tensor=2", ranks=2, tolerance=1e-5)

    def test_another_seed_is_another_run(self):
        self.assert_code(0, self.train("seed=2"))
        with self.assertRaises(AssertionError):
            self.assert_equal_runs(self.dir / "run", REFERENCE)


if __name__ == "__main__":
    main()
