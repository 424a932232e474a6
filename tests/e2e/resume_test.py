"""From which checkpoint a training goes on, what may have changed meanwhile, and what it says about it."""

import json
import shutil
import signal

from support import DATA, TestCase, flip_byte, main


class Choice(TestCase):
    """checkpoint.resume, and checkpoints that cannot be used."""

    def setUp(self):
        super().setUp()
        self.run = self.copy_done_run()

    def damage(self, step):
        flip_byte(self.run / f"checkpoints/step-{step:08}/data-00000-000.safetensors")

    def test_auto_takes_the_newest_and_writes_no_step_twice(self):
        (self.run / "checkpoints/writing-step-00000012-0123").mkdir()  # left behind by a crash
        with open(self.run / "metrics.jsonl", "a") as lines:
            lines.write('{"step": 9, "loss": 1.0}\n{"step": 10, "lo')  # beyond the checkpoint, and torn
        result = self.train("train.steps=12", "checkpoint.keep_last=5", ranks=2)
        self.assert_code(0, result)
        self.assert_says(result, "resumed at step 8 from ", "train.steps 8 -> 12",
                         "metrics.jsonl: lines after step 8 or torn, cut off: 2")
        self.assertEqual(["step-00000004", "step-00000008", "step-00000012"], self.checkpoints())
        lines = [json.loads(line) for line in (self.run / "metrics.jsonl").read_text().splitlines()]
        self.assertEqual(list(range(1, 13)), [line["step"] for line in lines if "loss" in line])
        self.assertEqual(("finished", 0), self.state())

    def test_a_finished_run_has_nothing_to_do(self):
        before = (self.run / "metrics.jsonl").read_bytes()
        result = self.train()
        self.assert_code(0, result)
        self.assert_says(result, "nothing to do: step 8 of 8 is done; raise train.steps to go on")
        self.assertEqual(before, (self.run / "metrics.jsonl").read_bytes())

    def test_a_damaged_newest_checkpoint_is_one_line_and_the_one_before_is_used(self):
        self.damage(8)
        result = self.train(ranks=2)
        self.assert_code(0, result)
        self.assertEqual(1, result.text.count(" is damaged: "), result.text)
        self.assert_says(result, "checkpoint step-00000008 is damaged: ", "resumed at step 4 from ")
        self.assertEqual(["damaged-step-00000008", "step-00000004", "step-00000008"], self.checkpoints())
        self.assert_equal_runs(self.run, DATA / "runs/done")

    def test_none_usable_is_never_a_fresh_start(self):
        self.damage(4)
        (self.run / "checkpoints/step-00000008/COMMIT").unlink()
        for _ in range(2):  # the second start must not take the wreck for an empty folder
            self.assert_fails(self.train(ranks=2), 4, "none of its 2 checkpoints is usable", "bring back a copy",
                              "checkpoint.resume=never")
        self.assertEqual(("failed", 4), self.state())

    def test_never_starts_fresh_and_loses_nothing(self):
        result = self.train("checkpoint.resume=never", ranks=2)
        self.assert_code(0, result)
        self.assert_says(result, "older checkpoints of the run are now in ", "step 1/8")
        aside = [path for path in self.run.iterdir() if path.name.startswith("checkpoints.before-")]
        self.assertEqual(["metrics.jsonl", "step-00000004", "step-00000008"],
                         sorted(path.name for path in aside[0].iterdir()))
        self.assertEqual((DATA / "runs/done/metrics.jsonl").read_bytes(), (aside[0] / "metrics.jsonl").read_bytes())
        self.assert_equal_runs(self.run, DATA / "runs/done")

    def test_what_was_put_aside_is_not_forgotten(self):
        (self.run / "checkpoints").rename(self.run / "checkpoints.before-1")
        metrics = (self.run / "metrics.jsonl").read_bytes()
        self.assert_fails(self.train(ranks=2), 4, "holds no checkpoint, but", "checkpoints.before-1",
                          "checkpoint.resume=PATH", "checkpoint.resume=never")
        self.assertEqual(metrics, (self.run / "metrics.jsonl").read_bytes())
        self.assert_code(0, self.train("checkpoint.resume=never"))

    def test_a_path_that_is_refused_costs_nothing(self):
        self.copy_done_run("other")
        damaged = self.dir / "other/checkpoints/step-00000008"
        data = sorted(damaged.glob("data-*"))[0]
        flip_byte(data)
        self.assert_fails(self.train(f"checkpoint.resume={damaged}", ranks=2), 4, data.name)
        other = self.dir / "other/checkpoints/step-00000004"
        self.assert_fails(self.train(f"checkpoint.resume={other}", "seed=7", ranks=2), 4, "seed")
        self.assertEqual(["step-00000004", "step-00000008"], self.checkpoints())
        self.assert_says(self.train(ranks=2), "nothing to do")

    def test_a_run_stopped_after_another_start_says_how_to_go_on(self):
        job = self.start(*self.command("train.steps=100000", "checkpoint.resume=never"))
        job.wait_for("step 2/")
        job.process.send_signal(signal.SIGTERM)
        result = job.wait()
        self.assert_code(75, result)
        self.assert_says(result, "the same command with checkpoint.resume=auto goes on from there")

    def test_a_path_goes_on_from_that_checkpoint_in_another_run(self):
        old = self.run / "checkpoints/step-00000004"
        result = self.train("run.name=branch", f"checkpoint.resume={old}")
        self.assert_code(0, result)
        self.assert_says(result, f"resumed at step 4 from {old}")
        self.assertEqual(["step-00000008"], self.checkpoints("branch"))
        self.damage(4)
        self.assert_fails(self.train("run.name=other", f"checkpoint.resume={old}", ranks=2), 4, "data-00000-000.safetensors")
        self.assert_fails(self.train("run.name=third", f"checkpoint.resume={self.dir}/none", ranks=2), 4, "none")


class Identity(TestCase):
    """What a run is must not change on resume; how it runs may."""

    def setUp(self):
        super().setUp()
        self.run = self.copy_done_run()

    def test_a_checkpoint_of_another_model_is_refused_field_by_field(self):
        result = self.train("model.hidden_size=64", "model.num_hidden_layers=3", "model.tie_word_embeddings=true",
                            "train.steps=12", ranks=2)
        self.assert_fails(result, 4, "this checkpoint is of another run", "set another run.name",
                          "\n  model.hidden_size: checkpoint 32, config 64",
                          "\n  model.num_hidden_layers: checkpoint 4, config 3",
                          "\n  model.tie_word_embeddings: checkpoint false, config true")
        self.assertNotIn("train.steps", result.messages()[0])
        self.assertEqual(["step-00000004", "step-00000008"], self.checkpoints())
        self.assertEqual(("failed", 4), self.state())

    def test_another_format_of_the_optimizers_state_is_refused(self):
        result = self.train("precision.compute=bf16", "precision.master=false", "precision.optimizer_state=bf16")
        self.assert_fails(result, 4, "precision.master: checkpoint true, config false",
                          "precision.optimizer_state: checkpoint fp32, config bf16")

    def test_changes_of_lanes_batch_precision_and_seed_are_refused(self):
        result = self.train("train.lanes=2", "batch.global_batch_size=4", "precision.compute=bf16", "seed=2")
        self.assert_fails(result, 4, "train.lanes: checkpoint 4, config 2", "batch.global_batch_size: checkpoint 8, config 4",
                          "precision.compute: checkpoint fp32, config bf16", "seed: checkpoint 1, config 2")

    def test_changes_of_tokenizer_and_data_are_refused(self):
        self.assert_code(0, self.frugal("data", "build", "--input", "other.txt", "--tokenizer", "other-tokenizer",
                                        "--output", self.dir / "other"))
        result = self.train("tokenizer.path=other-tokenizer", f"data.train=[{{path: {self.dir}/other/train}}]",
                            f"data.validation=[{{path: {self.dir}/other/validation}}]")
        self.assert_fails(result, 4, "tokenizer: checkpoint ", "data: checkpoint ")
        self.assert_fails(self.train("data.train=[{path: validation}]"), 4, "data: checkpoint ")

    def test_changes_of_layout_steps_rate_and_intervals_are_one_line(self):
        shutil.rmtree(self.run / "checkpoints/step-00000008")
        result = self.train("parallelism.pipeline=2", "parallelism.schedule=zb_h1", "train.steps=6", "eval.interval=3",
                            "optimizer.learning_rate=1e-3", "checkpoint.interval=2", ranks=2)
        self.assert_code(0, result)
        (line,) = [line for line in result.text.splitlines() if line.startswith("resumed at step 4")]
        for change in ("parallelism.pipeline 1 -> 2", "parallelism.schedule 1f1b -> zb_h1", "train.steps 8 -> 6",
                       "eval.interval 4 -> 3", "optimizer.learning_rate 0.003 -> 0.001", "checkpoint.interval 4 -> 2"):
            self.assertIn(change, line)


if __name__ == "__main__":
    main()
