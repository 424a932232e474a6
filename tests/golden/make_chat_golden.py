#!/usr/bin/env python3
"""Writes tests/golden/chat/cases.json: conversations, their ids by apply_chat_template of `transformers` with the templates
below, and which of them are an assistant's answer. The tokenizers are those of tests/golden/tokenizer.

The templates are written here from the documented formats; {% generation %} marks the answers.
Usage: pip install transformers==5.24.0 tokenizers==0.23.3, then tests/golden/make_chat_golden.py
"""
import json
from pathlib import Path

from transformers import PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
BEGIN, END = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"


def template(begin, system, user, assistant, ask):
    """Jinja of a conversation; in the texts of the roles C is the content and the answer stands in []."""
    answer = assistant.replace("[", "{% generation %}").replace("]", "{% endgeneration %}")
    roles = zip(("system", "user", "assistant"), (system, user, answer))
    body = "".join(f"{{% {'if' if role == 'system' else 'elif'} message.role == '{role}' %}}{text}" for role, text in roles)
    return begin + "{% for message in messages %}" + body + "{% endif %}{% endfor %}{% if add_generation_prompt %}" + ask + "{% endif %}"


C = "{{ message.content }}"
T = "{{ message.content | trim }}"
llama3 = lambda role, content: f"<|start_header_id|>{role}<|end_header_id|>{{{{ '\\n\\n' }}}}{content}"
N = "{{ '\\n' }}"
# format: (tokenizers, template, first token, end token)
FORMATS = {
    "chatml": (("qwen2", "smollm2"), template(
        "", f"<|im_start|>system{N}{C}<|im_end|>{N}", f"<|im_start|>user{N}{C}<|im_end|>{N}",
        f"<|im_start|>assistant{N}[{C}<|im_end|>]{N}", f"<|im_start|>assistant{N}"), None, "<|im_end|>"),
    "llama3": (("llama3",), template(
        "{{ bos_token }}", llama3("system", T) + "<|eot_id|>", llama3("user", T) + "<|eot_id|>",
        llama3("assistant", f"[{T}<|eot_id|>]"), llama3("assistant", "")), "<|begin_of_text|>", "<|eot_id|>"),
    "deepseek-v3": (("deepseek_v3",), template(
        "{{ bos_token }}", C, "<\uff5cUser\uff5c>" + C, f"<\uff5cAssistant\uff5c>[{C}{END}]", "<\uff5cAssistant\uff5c>"), BEGIN, END),
    "deepseek-v2": (("deepseek_coder",), template(
        "{{ bos_token }}", C + N + N, f"User: {C}{N}{N}", f"Assistant:[ {C}{END}]", "Assistant:"), BEGIN, END),
}
say = lambda *turns: [{"role": role, "content": content} for role, content in turns]
CONVERSATIONS = [
    say(("user", "Hello"), ("assistant", "Hi there!")),
    say(("system", "Be brief."), ("user", "What is 12345 + 1?"), ("assistant", "12346"), ("user", "Thanks,\nbye.\n"), ("assistant", "Bye.")),
    say(("user", "\n  indented\n\n"), ("assistant", "def f(x):\n    return x\n"), ("user", "")),
    say(("user", "\u4f60\u597d\uff0ce\u0301t\u00e9?"), ("assistant", "\u4f60\u597d\uff01 \U0001f600")),
    say(("assistant", "I begin."), ("assistant", "And go on."), ("user", "In the beginning God created the heaven")),
]


def main():
    cases = []
    for name, (families, jinja, begin, end) in FORMATS.items():
        for family in families:
            tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(HERE / "tokenizer" / family / "tokenizer.json"),
                                                bos_token=begin, eos_token=end, chat_template=jinja)
            for messages in CONVERSATIONS:
                for ask in (False, True):
                    out = tokenizer.apply_chat_template(messages, add_generation_prompt=ask, return_dict=True,
                                                        return_assistant_tokens_mask=True)
                    cases.append({"format": name, "tokenizer": family, "messages": messages, "ask": ask,
                                  "ids": out["input_ids"], "answer": out["assistant_masks"]})
    (HERE / "chat").mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (HERE / "chat/cases.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
