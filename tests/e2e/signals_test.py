"""What a user asks of a running training, and what the exit code answers (README, "Exit codes")."""

import os
import signal

from support import TestCase, main

LONG = "train.steps=100000"


class Signals(TestCase):
    def started(self, *overrides, ranks=2):
        job = self.start(*self.command(LONG, *overrides, ranks=ranks))
        job.wait_for("step 2/")
        return job

    def assert_stopped(self, result, code=75):
        self.assert_code(code, result)
        self.assert_says(result, "as a signal asked; the same command goes on from there")
        self.assertEqual([], result.messages())
        self.assertEqual(("stopped", 75), self.state())
        return int(result.text.split("stopped at step ")[1].split()[0])

    def assert_goes_on(self, step, ranks):
        """The same command resumes where it stopped; again stopped, it is a step or more ahead."""
        job = self.start(*self.command(LONG, ranks=ranks))
        job.wait_for(f"step {step + 1}/")
        job.process.send_signal(signal.SIGUSR1)
        result = job.wait()
        self.assert_says(result, f"resumed at step {step} from ")
        self.assertGreater(self.assert_stopped(result), step)

    def test_usr1_to_one_rank_saves_and_stops_all(self):
        job = self.started()
        os.kill(job.rank(1), signal.SIGUSR1)
        step = self.assert_stopped(job.wait())
        self.assertIn(f"step-{step:08}", self.checkpoints())
        self.assert_goes_on(step, ranks=2)

    def test_term_to_one_rank_saves_and_stops_all(self):
        job = self.started()
        os.kill(job.rank(0), signal.SIGTERM)
        step = self.assert_stopped(job.wait())
        self.assertIn(f"step-{step:08}", self.checkpoints())

    def test_usr1_to_mpirun(self):
        job = self.started()
        job.process.send_signal(signal.SIGUSR1)
        self.assert_stopped(job.wait())

    def test_term_to_mpirun(self):
        # Open MPI leaves the ranks a second, and reports 1 whatever they say. It reads no more from
        # them, so what they say is in log.txt only. Four seconds here: other tests share the disk.
        os.environ["OMPI_MCA_odls_base_sigkill_timeout"] = "4"
        self.addCleanup(os.environ.pop, "OMPI_MCA_odls_base_sigkill_timeout")
        job = self.started()
        job.process.send_signal(signal.SIGTERM)
        result = job.wait()
        self.assert_code(1, result)
        self.assertEqual([], result.messages())
        self.assertEqual(("stopped", 75), self.state())
        log = (self.dir / "run/log.txt").read_text()
        self.assertIn(f"stopped at step {self.newest_step()} as a signal asked", log)

    def test_one_process(self):
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            job = self.started(f"run.name=run-{number}", ranks=1)
            job.process.send_signal(number)
            result = job.wait()
            self.assert_code(75, result)
        job = self.started("--ranks", "2", ranks=1)
        job.process.send_signal(signal.SIGTERM)
        step = self.assert_stopped(job.wait())
        self.assert_goes_on(step, ranks=1)

    def test_usr2_saves_and_goes_on(self):
        job = self.started("checkpoint.interval=0")
        os.kill(job.rank(1), signal.SIGUSR2)
        job.wait_for("checkpoint written")
        self.assertEqual(1, len(self.checkpoints()))
        saved = int(self.checkpoints()[0].split("-")[1])
        job.wait_for(f"step {saved + 1}/")
        self.assertEqual(("running", None), self.state())
        job.process.send_signal(signal.SIGUSR1)
        self.assert_stopped(job.wait())


class Divergence(TestCase):
    def test_too_many_skipped_updates_end_the_run_with_5(self):
        result = self.train("optimizer.learning_rate=1000", "optimizer.weight_decay=1000", "optimizer.grad_clip=0",
                            "scheduler.warmup_steps=0", "train.max_skipped_updates=2", "train.steps=200", ranks=2)
        self.assert_fails(result, 5, "3 updates in a row had a gradient that is not finite",
                          "train.max_skipped_updates is 2", "lower optimizer.learning_rate")
        self.assert_says(result, "the gradient is not finite, no update was made (1 in all)")
        self.assertEqual(("failed", 5), self.state())

    def test_fp16_ends_with_5_when_no_loss_scale_helps(self):
        result = self.train("optimizer.learning_rate=1000", "optimizer.weight_decay=1000", "optimizer.grad_clip=0",
                            "scheduler.warmup_steps=0", "train.max_skipped_updates=0", "train.steps=200",
                            "precision.compute=fp16", "precision.initial_loss_scale=4", ranks=2)
        self.assert_fails(result, 5, "the gradient is not finite at loss scale 1 either, the least one, after 3 skipped "
                          "updates in a row", "lower optimizer.learning_rate", "precision.compute=bf16")
        self.assert_says(result, "overflow at loss scale 4, no update was made (1 in all)")
        self.assertEqual(("failed", 5), self.state())


if __name__ == "__main__":
    main()
