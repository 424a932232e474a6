"""Ranks of one job: they agree before they begin, and when one dies all end, leave nothing behind, and can go on."""

import os
import signal
import time

from support import FRUGAL, MPIRUN, TINY, TestCase, main

END_SECONDS = 10  # within which a job must be gone once a rank is


class Job(TestCase):
    def assert_no_orphans(self, job, since):
        while job.processes() and time.monotonic() < since + END_SECONDS:
            time.sleep(0.05)
        self.assertEqual({}, job.processes())
        self.assertLess(time.monotonic() - since, END_SECONDS)

    def assert_goes_on(self, *overrides, ranks):
        saved = max(int(name.removeprefix("step-")) for name in self.checkpoints() if name.startswith("step-"))
        steps = saved + 3
        again = self.train(*overrides, f"train.steps={steps}", ranks=ranks)
        self.assert_code(0, again)
        self.assert_says(again, f"resumed at step {saved} ")
        self.assert_as_if_uninterrupted(steps)

    def two_commands(self, first, second):
        own = ["-np", "1", FRUGAL, "train"]
        common = [f"run.dir={self.dir}"]
        return self.start(*MPIRUN, *own, *first, *common, ":", *own, *second, *common).wait()

    def test_one_rank_with_another_config(self):
        result = self.two_commands([TINY], [TINY, "optimizer.learning_rate=1e-4"])
        self.assert_fails(result, 2, "rank 1 has another config than rank 0", "same file and overrides")
        self.assertFalse((self.dir / "run").exists())

    def test_one_rank_without_a_config(self):
        # The others wait for it inside a collective, and must not wait for ever.
        result = self.two_commands([TINY], [self.dir / "none.yaml"])
        self.assert_fails(result, 2, "none.yaml: this config cannot be read")

    def test_a_second_training_in_the_same_folder(self):
        job = self.start(*self.command("train.steps=100000"))
        job.wait_for("step 1/")
        self.assert_fails(self.train(ranks=2), 2, "another training is writing there", "set another run.name")
        self.assertEqual(("running", None), self.state())

    def test_a_killed_rank_ends_the_job_and_the_next_start_gives_the_same_bits(self):
        layout = ("parallelism.pipeline=2", "parallelism.data=2", "checkpoint.interval=2")
        job = self.start(*self.command(*layout, "train.steps=100000", ranks=4))
        job.wait_for("step 4: checkpoint written")
        killed = time.monotonic()
        os.kill(job.rank(3), signal.SIGKILL)
        result = job.wait(END_SECONDS)
        self.assert_no_orphans(job, killed)
        self.assertNotIn(result.code, (0, 75), result.text)
        self.assert_goes_on(*layout, ranks=4)
        self.assertEqual(("finished", 0), self.state())

    def test_a_rank_killed_while_saving(self):
        job = self.start(*self.command("checkpoint.interval=1", "train.steps=100000", ranks=2))
        job.wait_for("step 3: checkpoint written")
        folder = self.dir / "run/checkpoints"
        end = time.monotonic() + 30
        while not any(name.startswith("writing-") for name in os.listdir(folder)) and time.monotonic() < end:
            time.sleep(0.001)
        os.kill(job.rank(1), signal.SIGKILL)
        job.wait(END_SECONDS)
        self.assert_goes_on("checkpoint.interval=1", ranks=2)
        self.assertTrue(all(name.startswith("step-") for name in self.checkpoints()), self.checkpoints())

    def test_a_killed_mpirun_leaves_no_ranks(self):
        job = self.start(*self.command("train.steps=100000", ranks=2))
        job.wait_for("step 1/")
        killed = time.monotonic()
        job.process.kill()
        job.process.wait()
        self.assert_no_orphans(job, killed)


if __name__ == "__main__":
    main()
