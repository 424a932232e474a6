#!/usr/bin/env python3
"""Writes tests/golden/lora/: random LoRA adapters beside models of tests/golden/hf/, with what PEFT and PyTorch make of
them.

Each folder is named like its base and holds an adapter as PEFT's `save_pretrained` writes it (float32, A and B random),
with tensors of the same names in
  grad.safetensors        the gradient of the loss before the first update
  trained.safetensors     the adapter after three updates of AdamW with clipping (make_hf_golden.py has the constants)
and golden.json as make_hf_golden.py describes it, for the base's inputs and targets.
Usage: tests/golden/make_lora_golden.py, with peft 0.21 and what make_hf_golden.py needs installed
"""
import json
import shutil

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import make_hf_golden as base

HERE = base.HERE.parent / "lora"
FILE = "adapter_model.safetensors"
ADAPTERS = {
    # One key and value head, which tensor ranks share; all maps; alpha / rank is no power of two.
    "llama3": dict(r=3, lora_alpha=5, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj",
                                                      "down_proj"]),
    # Norms between projection and attention; maps with and without adapters in each layer; tied.
    "qwen3": dict(r=2, lora_alpha=3, target_modules=["k_proj", "up_proj", "down_proj"]),
    # Biases.
    "qwen2": dict(r=2, lora_alpha=2, target_modules=["q_proj", "v_proj", "o_proj", "gate_proj"]),
}


def name_in_file(name):
    return name.replace(".default", "")


def save(path, tensors):
    save_file({name_in_file(name): t.contiguous() for name, t in tensors.items()}, path)


def make(name, options):
    torch.manual_seed(sum(map(ord, name)) + 1)
    model = AutoModelForCausalLM.from_pretrained(base.HERE / name, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **options)).eval()
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    for key, parameter in trained.items():
        parameter.data = (0.3 if "lora_A" in key else 0.2) * torch.randn_like(parameter)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = f"tests/golden/hf/{name}"
    config["target_modules"].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    assert set(load_file(folder / FILE)) == {name_in_file(key) for key in trained}
    given = json.loads((base.HERE / name / "golden.json").read_text())
    inputs, targets = torch.tensor(given["inputs"]), torch.tensor(given["targets"])
    golden = {"continuation": [
        model.generate(input_ids=inputs[:1, :n], max_new_tokens=8, do_sample=False)[0, n:].tolist() for n in (5, 9)]}
    optimizer = torch.optim.AdamW(trained.values(), weight_decay=base.WEIGHT_DECAY, **base.ADAMW)
    losses = []
    for update in range(4):
        optimizer.zero_grad()
        loss, logits = base.loss_of(model, inputs, targets)
        losses.append(loss.item())
        if update == 3:
            break
        loss.backward()
        if update == 0:
            golden["logits"] = [[float(f"{x:.6g}") for x in row] for row in logits[0].tolist()]
            save(folder / "grad.safetensors", {key: p.grad for key, p in trained.items()})
        torch.nn.utils.clip_grad_norm_(trained.values(), base.CLIP)
        optimizer.step()
    golden["losses"] = losses
    save(folder / "trained.safetensors", {key: p.detach() for key, p in trained.items()})
    (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(name, sum(p.numel() for p in trained.values()), [round(x, 4) for x in losses])


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, options in ADAPTERS.items():
        make(name, options)
