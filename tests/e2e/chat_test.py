"""Supervised fine-tuning: conversations become masked shards, a model learns the answers, and a chat gives them back."""

import json
import pathlib

from support import FRUGAL, TestCase, main

TOKENIZER = pathlib.Path(__file__).parents[1] / "golden/tokenizer/qwen2"
ANSWERS = {"What shines by day?": "The sun.", "What shines by night?": "The moon.", "Who made them?": "God made both."}

CONFIG = """
model: {{ model_type: qwen2, hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 4,
          max_position_embeddings: 256 }}
tokenizer: {{ path: {tokenizer} }}
data: {{ train: [{{ path: {data}/train }}], sequence_length: 64, document_mask: true }}
batch: {{ micro_batch_size: 4, global_batch_size: 4 }}
precision: {{ compute: fp32 }}
optimizer: {{ learning_rate: 1.0e-2, weight_decay: 0.0 }}
scheduler: {{ warmup_steps: 5 }}
train: {{ steps: 60, threads: 1 }}
"""


class Chat(TestCase):
    def build(self, lines, *arguments, kind="chat"):
        (self.dir / "samples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return self.frugal("data", "build", "--format", kind, "--input", self.dir / "samples.jsonl", "--tokenizer", TOKENIZER,
                           "--output", self.dir / "data", "--sequence-length", "64", "--validation-fraction", "0", *arguments)

    def chat(self, lines, *arguments):
        result = self.start(FRUGAL, "generate", "--checkpoint", self.dir / "run", "--chat",
                            "--temperature", "0", "--max-new-tokens", "20", *arguments, stdin=lines).wait()
        self.assert_code(0, result)
        return result.text

    def test_what_was_learned_is_answered(self):
        samples = [{"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]}
                   for ask, answer in ANSWERS.items()]
        result = self.build(samples * 30)
        self.assert_code(0, result)
        shown = self.frugal("data", "inspect", self.dir / "data/train", "--sample", "1", "--tokenizer", TOKENIZER)
        self.assert_code(0, shown)
        self.assert_says(shown, "What shines by night?", "The moon.")
        config = self.dir / "config.yaml"
        config.write_text(CONFIG.format(tokenizer=TOKENIZER, data=self.dir / "data"))
        self.assert_code(0, self.train(config=config))
        asks = list(ANSWERS)
        self.assertEqual("".join(answer + "\n" for answer in ANSWERS.values()),
                         "".join(self.chat(ask + "\n") for ask in asks))
        # The same on a layout, where the lines reach all ranks; blank ones are passed over.
        self.assertEqual(ANSWERS[asks[1]] + "\n", self.chat("\n" + asks[1] + "\n", "--ranks", "2", "parallelism.pipeline=2"))

    def test_bad_input(self):
        result = self.start(FRUGAL, "generate", "--checkpoint", "runs/done", "--chat", stdin="").wait()
        self.assert_fails(result, 4, "chat")
        result = self.start(FRUGAL, "generate", "--checkpoint", "runs/done", "--chat", "--prompt", "a",
                            stdin="").wait()
        self.assert_fails(result, 2, "--chat reads what is said from standard input")


if __name__ == "__main__":
    main()
