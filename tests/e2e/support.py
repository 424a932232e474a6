"""Starts the `frugal` program as a user does, alone or under mpirun, and looks at what it leaves.

Environment: FRUGAL, the program; FRUGAL_E2E, a folder for this suite, in which prepare.py has made `data`.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

SOURCE = pathlib.Path(__file__).resolve().parents[2]
FRUGAL = os.environ["FRUGAL"]
FOLDER = pathlib.Path(os.environ["FRUGAL_E2E"])
DATA = FOLDER / "data"  # corpus.txt, tokenizer, other-tokenizer, train, validation, runs/done
TINY = SOURCE / "tests/e2e/tiny.yaml"
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
TIMEOUT = 60  # seconds; nothing may hang

sys.path.insert(0, str(SOURCE / "scripts"))
sys.dont_write_bytecode = True
import compare_runs  # noqa: E402  (one definition of "equal runs", the one users have)


class Job:
    """A started program. Its processes are known by a mark in their environment, so orphans are found too."""

    def __init__(self, command, stdin=None, cwd=DATA):
        self.mark = f"FRUGAL_E2E_JOB={uuid.uuid4()}"
        name, value = self.mark.split("=")
        self.output = tempfile.TemporaryFile(mode="w+")
        self.errors = tempfile.TemporaryFile(mode="w+")
        # Cores are shared with other tests: threads that wait must not spin.
        environment = {**os.environ, name: value, "OMP_WAIT_POLICY": "passive"}
        self.process = subprocess.Popen(
            [str(part) for part in command], cwd=cwd, env=environment, text=True,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE, stdout=self.output, stderr=self.errors)
        if stdin is not None:
            self.process.stdin.write(stdin)
            self.process.stdin.close()

    def text(self):
        """What has been printed so far, standard output first."""
        return "".join(os.pread(f.fileno(), 1 << 24, 0).decode(errors="replace") for f in (self.output, self.errors))

    def processes(self):
        """{pid: environment} of what is alive."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    environment = (entry / "environ").read_text(errors="replace").split("\0")
                except OSError:  # it has ended, or is not ours
                    continue
                if self.mark in environment:
                    found[int(entry.name)] = dict(line.split("=", 1) for line in environment if "=" in line)
        return found

    def rank(self, number):
        """The process of a rank of an MPI job."""
        return next(pid for pid, environment in self.processes().items()
                    if environment.get("OMPI_COMM_WORLD_RANK") == str(number))

    def wait_for(self, text, after=""):
        """Until it has printed `text`, behind the last `after` if that is given."""
        end = time.monotonic() + TIMEOUT
        while text not in (self.text().rpartition(after)[2] if after else self.text()):
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise AssertionError(f"{text!r} was not printed:\n{self.text()}")
            time.sleep(0.005)

    def wait(self, timeout=TIMEOUT):
        """Its Result; a job that does not end is killed and is an error."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            text = self.text()
            self.kill()
            raise AssertionError(f"still running after {timeout} s:\n{text}") from None
        return Result(code, self.text())

    def kill(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def close(self):
        self.kill()
        self.output.close()
        self.errors.close()


class Result:
    def __init__(self, code, text):
        self.code = code
        self.text = text

    def messages(self):
        """The program's own error messages: each a line that begins with its name, and what belongs to it."""
        return re.findall(r"^frugal: (?:[^\n]*)(?:\n(?:  |override|\S+\.yaml:)[^\n]*)*", self.text, re.MULTILINE)


class TestCase(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=self.id().split(".")[-1] + "-", dir=FOLDER))
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def start(self, *command, stdin=None, cwd=DATA):
        job = Job(command, stdin, cwd)
        self.addCleanup(job.close)
        return job

    def frugal(self, *arguments, stdin=None):
        """Runs it alone, to its end."""
        return self.start(FRUGAL, *arguments, stdin=stdin).wait()

    def command(self, *overrides, ranks=1, config=TINY):
        """The command line of a training: under mpirun if it has several ranks."""
        own = [FRUGAL, "train", config, f"run.dir={self.dir}", *overrides]
        return own if ranks == 1 else [*MPIRUN, "-np", ranks, *own]

    def train(self, *overrides, ranks=1, config=TINY):
        return self.start(*self.command(*overrides, ranks=ranks, config=config)).wait()

    def newest_step(self, name="run"):
        return int(self.checkpoints(name)[-1].removeprefix("step-"))

    def assert_as_if_uninterrupted(self, steps):
        """The run is the same, bit for bit, as one of so many steps on one rank."""
        self.assert_code(0, self.train("run.name=uninterrupted", f"train.steps={steps}"))
        self.assert_equal_runs(self.dir / "run", self.dir / "uninterrupted")

    def copy_done_run(self, name="run"):
        """A finished run of 8 steps on one rank with checkpoints of steps 4 and 8."""
        shutil.copytree(DATA / "runs/done", self.dir / name)
        return self.dir / name

    def checkpoints(self, name="run"):
        return sorted(path.name for path in (self.dir / name / "checkpoints").iterdir())

    def state(self, name="run"):
        info = json.loads((self.dir / name / "run.json").read_text())
        return info["state"], info["exit_code"]

    def assert_code(self, code, result):
        self.assertEqual(code, result.code, result.text)

    def assert_says(self, result, *parts):
        for part in parts:
            self.assertIn(part, result.text)

    def assert_fails(self, result, code, *parts):
        """Ends with this code and one message, in one piece, with these parts."""
        self.assert_code(code, result)
        self.assertEqual(1, len(result.messages()), result.text)
        for part in parts:
            self.assertIn(part, result.messages()[0], result.text)
        for noise in ("terminate called", "what():", "internal error"):
            self.assertNotIn(noise, result.text)

    def assert_equal_runs(self, a, b, tolerance=0.0):
        code, message = compare_runs.compare(str(a), str(b), tolerance)
        self.assertEqual(0, code, message)


def flip_byte(path, at=-1):
    """Damages a file in one place, the middle unless told."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at < 0 else at] ^= 1
    path.write_bytes(content)


def main():
    """Exit code 77, which ctest shows as skipped, when nothing failed and something was left out."""
    result = unittest.main(verbosity=2, exit=False).result
    sys.exit(1 if not result.wasSuccessful() else 77 if result.skipped else 0)
