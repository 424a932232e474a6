"""A checkpoint that cannot be written costs that checkpoint and nothing else."""

import json
import resource
import signal
import subprocess

from support import TestCase, main

SAVED = "checkpoint written"
# Mounts a small file system that only this command sees, runs the command on it and keeps a copy of what it left.
ON_A_SMALL_DISK = 'mount -t tmpfs -o size=$1 none "$2" && shift && d=$1 && shift && "$@"; code=$?; cp -r "$d" "$d.after"; exit $code'


def may_mount():
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return probe.returncode == 0


class DiskFull(TestCase):
    def test_the_run_goes_on_and_saves_again_when_there_is_room(self):
        """The system refuses every byte that would be added to a file: checkpoints, and lines of the reports too."""
        job = self.start(*self.command("train.steps=100000", "checkpoint.interval=3", ranks=2))
        job.wait_for("step 3: " + SAVED)
        self.limit(job, 0)
        job.wait_for("metrics.jsonl: cannot write: File too large; free disk space")
        job.wait_for(" was not written: ")
        refused = int(job.text().split(" was not written: ")[0].split("checkpoint of step ")[-1])
        self.assertIn("the run goes on with the last good one", job.text())
        job.wait_for(f"step {refused + 1}/")
        good = self.checkpoints()
        self.assertTrue(good and all(name.startswith("step-") for name in good), good)
        self.limit(job, resource.RLIM_INFINITY)
        job.wait_for(SAVED, after=" was not written: ")
        job.process.send_signal(signal.SIGUSR1)
        result = job.wait()
        self.assert_code(75, result)
        self.assertEqual([], result.messages())
        self.assertEqual(1, result.text.count("waits in memory until then"), result.text)
        lines = [json.loads(line) for line in (self.dir / "run/metrics.jsonl").read_text().splitlines()]
        steps = [line["step"] for line in lines if "loss" in line]
        self.assertEqual(list(range(1, len(steps) + 1)), steps)
        self.assertGreater(len(steps), refused)

    def limit(self, job, size):
        for rank in (0, 1):
            resource.prlimit(job.rank(rank), resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def test_a_file_system_without_room(self):
        """Room for one checkpoint, not for a second beside it: the end cannot be saved, the first stays good."""
        if not may_mount():
            self.skipTest("this user may not mount a file system")
        disk = self.dir / "disk"
        disk.mkdir()
        command = ["unshare", "-m", "sh", "-c", ON_A_SMALL_DISK, "sh", "1100k", disk,
                   *self.command("checkpoint.interval=3", f"run.dir={disk}", "logging.tensorboard=false", ranks=2)]
        result = self.start(*command).wait()
        self.assert_fails(result, 4, "checkpoint of step 8 was not written", "free disk space", "start again")
        self.assert_says(result, "step 3: " + SAVED, "checkpoint of step 6 was not written: ", "No space left on device",
                         "free disk space", "the run goes on with the last good one", "step 8/8")
        (self.dir / "disk.after/run").rename(self.dir / "run")
        self.assertEqual(["step-00000003"], self.checkpoints())
        self.assertEqual(("failed", 4), self.state())
        again = self.train("checkpoint.interval=3", ranks=2)
        self.assert_code(0, again)
        self.assert_says(again, "resumed at step 3 from ")


if __name__ == "__main__":
    main()
