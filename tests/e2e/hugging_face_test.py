"""Models in and out: exported, evaluated, generated from, trained on from a Hugging Face folder and a GGUF file."""

import json
import re
import shutil
import subprocess

from support import DATA, FRUGAL, MPIRUN, TINY, TestCase, flip_byte, main

DONE = DATA / "runs/done"


class HuggingFace(TestCase):
    def export(self, name, *arguments, source=DONE):
        self.assert_code(0, self.frugal("checkpoint", "export", source, "--output", self.dir / name, *arguments))
        return self.dir / name

    def evaluate(self, checkpoint, *arguments):
        """Perplexity of the start of the corpus."""
        text = self.dir / "text"
        text.write_text((DATA / "corpus.txt").read_text()[:3000])
        result = self.frugal("evaluate", "--checkpoint", checkpoint, "--text", text, "--window", "16", *arguments)
        self.assert_code(0, result)
        return float(re.search(r"perplexity ([\d.]+), [\d.]+ bits per byte\n$", result.text)[1])

    def greedy(self, checkpoint):
        result = self.frugal("generate", "--checkpoint", checkpoint, "--prompt", "in the", "--temperature", "0",
                             "--max-new-tokens", "12")
        self.assert_code(0, result)
        return result.text.rpartition("\nprompt: ")[0]

    def config(self, model, **sections):
        """The tiny run with another model section."""
        text = re.sub(r"model:\n(  .*\n)*", f"model: {model}\n", TINY.read_text())
        path = self.dir / "config.yaml"
        path.write_text(text.replace("tokenizer: { path: tokenizer }\n", sections.get("tokenizer", "")))
        return path

    def losses(self, name="run"):
        return [json.loads(line)["loss"] for line in (self.dir / name / "metrics.jsonl").read_text().splitlines()
                if "grad_norm" in line]

    def test_what_is_exported_is_the_same_model(self):
        folder = self.export("folder", "--format", "hf")
        file = self.export("model.gguf", "--format", "gguf", "--dtype", "f32")
        expected = self.evaluate(DONE)
        self.assertLess(expected, 150)  # of 300 tokens: something was learned
        self.assertEqual(expected, self.evaluate(folder))
        self.assertEqual(expected, self.evaluate(file))
        self.assertEqual(expected, self.evaluate(folder, "--ranks", "2", "parallelism.pipeline=2"))
        self.assertEqual(expected, self.evaluate(folder, "--ranks", "3"))  # three replicas share the text
        self.assertAlmostEqual(expected, self.evaluate(folder, "--ranks", "2", "parallelism.tensor=2"), delta=0.01)
        self.assertAlmostEqual(expected, self.evaluate(folder, "precision.compute=bf16"), delta=0.02 * expected)
        self.assertEqual(self.greedy(DONE), self.greedy(folder))
        self.assertEqual(self.greedy(DONE), self.greedy(file))
        halves = self.export("halves.gguf", "--format", "gguf", "--dtype", "q8_0")
        self.assertAlmostEqual(expected, self.evaluate(halves), delta=0.02 * expected)

    def test_training_goes_on_from_a_folder_under_any_layout(self):
        folder = self.export("folder", "--format", "hf")
        config = self.config(f"{{ init_from: {folder} }}")
        self.assert_code(0, self.train("run.name=one", config=config))
        self.assert_code(0, self.train("run.name=many", "parallelism.tensor=2", "parallelism.pipeline=2", config=config,
                                       ranks=4))
        trained = [json.loads(line)["loss"] for line in (DONE / "metrics.jsonl").read_text().splitlines()
                   if "grad_norm" in line]
        self.assertLess(self.losses("one")[0], trained[0] - 0.3)  # where the old run ended, not where it began
        for one, many in zip(self.losses("one"), self.losses("many")):
            self.assertAlmostEqual(one, many, places=4)
        # A resumed run does not begin again, and what it has learned goes out once more.
        self.assert_code(0, self.train("run.name=one", "train.steps=12", config=config))
        self.assertEqual(12, len(self.losses("one")))
        again = self.export("again", "--format", "hf", source=self.dir / "one")
        self.assertEqual(self.greedy(self.dir / "one"), self.greedy(again))

    def test_hosts_with_other_weights_are_refused(self):
        """Of the same names and shapes, under the same path."""
        folder = self.export("folder", "--format", "hf")
        for host in ("one", "other"):
            shutil.copytree(folder, self.dir / host / "model")
            for name in ("tokenizer", "train", "validation"):
                shutil.copytree(DATA / name, self.dir / host / name)
        flip_byte(self.dir / "other/model/model.safetensors")
        command = [FRUGAL, "train", self.config("{ init_from: model }"), f"run.dir={self.dir}"]
        result = self.start(*MPIRUN, "-np", 1, "-wdir", self.dir / "one", *command, ":",
                            "-np", 1, "-wdir", self.dir / "other", *command).wait()
        self.assert_fails(result, 2, "rank 1 has another model.init_from than rank 0", "the same files")

    def test_a_gguf_brings_its_tokenizer(self):
        file = self.export("model.gguf", "--format", "gguf", "--dtype", "f32")
        config = self.config(f"{{ init_from: {file} }}")
        result = self.train(config=config)
        self.assert_code(0, result)
        self.assert_says(result, f"weights from {file}, F32")
        again = self.export("again", "--format", "hf", source=self.dir / "run")
        self.assertEqual(self.greedy(self.dir / "run"), self.greedy(again))
        self.assertIn("eos_token", json.loads((again / "tokenizer_config.json").read_text()))

    def test_what_cannot_be_used(self):
        folder = self.export("folder", "--format", "hf")
        self.assert_fails(self.frugal("checkpoint", "export", DONE, "--output", folder, "--format", "hf"), 2, str(folder))
        self.assert_fails(self.train(config=self.config("{ init_from: nowhere }")), 4, "nowhere")
        self.assert_fails(self.train(config=self.config(f"{{ init_from: {folder}, hidden_size: 64 }}")), 2,
                          "model.hidden_size is 64 here, but 32 in")
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 5}))
        self.assert_fails(self.train(config=self.config(f"{{ init_from: {folder} }}")), 4,
                          "model.layers.4.self_attn.q_proj.weight")
        self.assert_fails(self.train("--dry-run", config=self.config(f"{{ init_from: {folder} }}")), 4,
                          "model.layers.4.self_attn.q_proj.weight")
        (folder / "config.json").write_text(json.dumps({**config, "magic": 5}))
        self.assert_fails(self.frugal("generate", "--checkpoint", folder), 2, "the field 'magic' is not known here")

    def test_what_generation_and_evaluation_must_survive(self):
        # A model with more rows than the tokenizer has ids: none of them is ever drawn.
        self.assert_code(0, self.train("model.vocab_size=900", "sample.interval=4", "sample.temperature=5",
                                       'sample.prompts=["in the"]'))
        result = self.frugal("generate", "--checkpoint", self.dir / "run", "--temperature", "5", "--prompt", "in the")
        self.assert_code(0, result)
        # Weights that are no numbers are not a perfect model.
        folder = self.export("folder", "--format", "hf")
        weights = folder / "model.safetensors"
        content = bytearray(weights.read_bytes())
        content[-4:] = b"\x00\x00\xc0\x7f"
        weights.write_bytes(content)
        text = self.dir / "text"
        text.write_text("in the beginning god created heaven")
        self.assert_says(self.frugal("evaluate", "--checkpoint", folder, "--text", text), "perplexity nan")
        self.assert_fails(self.frugal("generate", "--checkpoint", folder), 5, "logits are not numbers")
        text.write_text("")
        self.assert_fails(self.frugal("evaluate", "--checkpoint", DONE, "--text", text), 4, "no token that could be foretold")
        self.assert_fails(self.frugal("generate", "--checkpoint", DONE, "model.head_dim=320"), 4, "model.head_dim is 320")
        with open("/dev/full", "w") as full:
            self.assertEqual(4, subprocess.run([FRUGAL, "version"], stdout=full, stderr=subprocess.DEVNULL).returncode)

    def test_multiple_choice(self):
        questions = self.dir / "questions.jsonl"
        question = {"prompt": "in the beginning god", "choices": [" xqzw", " created heaven and"], "answer": 1}
        questions.write_text(json.dumps(question) + "\n\n" + json.dumps({**question, "answer": 0}) + "\n")
        for layout in ((), ("--ranks", "2"), ("--ranks", "2", "parallelism.pipeline=2")):
            result = self.frugal("evaluate", "--checkpoint", DONE, "--choices", questions, *layout)
            self.assert_code(0, result)
            self.assert_says(result, "2 questions, 50.0 % right, 50.0 % by likelihood per byte")
        # During training too; replicas share the questions.
        self.assert_code(0, self.train(f"eval.questions={questions}", "parallelism.data=2", ranks=2))
        lines = [json.loads(line) for line in (self.dir / "run/metrics.jsonl").read_text().splitlines()]
        self.assertEqual([0.5, 0.5], [line["choices_right"] for line in lines if "choices_right" in line])
        for broken, says in (("{", "not a JSON object"), ('{"prompt": 1}', "prompt is no text"),
                             ('{"prompt": "a", "choices": ["b"], "answer": 0}', "fewer than two choices"),
                             ('{"prompt": "a", "choices": ["b", ""], "answer": 0}', "choice 1 is no text"),
                             ('{"prompt": "a", "choices": ["b", "c"], "answer": 2}', "answer is 2, expected 0 to 1"),
                             ('{"text": "a"}', 'unknown key "text"')):
            questions.write_text(json.dumps(question) + "\n" + broken + "\n")
            self.assert_fails(self.frugal("evaluate", "--checkpoint", DONE, "--choices", questions), 4,
                              "questions.jsonl:2: " + says)
        questions.write_text(json.dumps({**question, "choices": ["a", " in the beginning god created" * 20]}) + "\n")
        self.assert_fails(self.frugal("evaluate", "--checkpoint", DONE, "--choices", questions, "--window", "16"), 4,
                          "question 1: a choice has")
        self.assert_fails(self.frugal("evaluate", "--checkpoint", DONE), 2, "--text FILE or --choices FILE")


if __name__ == "__main__":
    main()
