#!/usr/bin/env python3
"""Writes tests/golden/hf/: small random models of every family as Hugging Face folders, with what PyTorch makes of them.

Each folder holds config.json and model.safetensors, as `save_pretrained` writes them (float32), two folders alike with
  grad                    the gradient of the loss before the first update, as if they were weights
  trained                 the weights after three updates of AdamW with clipping (the constants are below and in the test)
and golden.json with
  inputs, targets         [B][S]; a target of -1 does not count
  logits                  [S][vocab] of the first sequence
  losses                  [4]: mean loss over the targets, before updates 1, 2, 3 and after the third
  continuation            [2][8]: greedy continuation of the first 5 and 9 inputs of the first sequence
Usage: tests/golden/make_hf_golden.py, with torch 2.15, transformers 5.24 and safetensors 0.8 installed
"""
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM)

HERE = Path(__file__).resolve().parent / "hf"
VOCAB, BATCH, LENGTH = 131, 4, 24
# A large eps: the gradient of GPT-2's key biases is 0 but for rounding, which AdamW would blow up to the learning rate.
ADAMW = dict(lr=0.01, betas=(0.9, 0.95), eps=1e-4)
WEIGHT_DECAY, CLIP = 0.1, 0.5
LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16)


def rotary(config_class, **more):
    return config_class(vocab_size=VOCAB, hidden_size=24, intermediate_size=28, num_hidden_layers=2,
                        max_position_embeddings=64, bos_token_id=1, eos_token_id=None, initializer_range=0.3, **more)


MODELS = {
    # With the dropouts of all GPT-2s, which eval() turns off.
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCAB, n_positions=32, n_embd=24, n_layer=2, n_head=6, n_inner=28, bos_token_id=1,
        eos_token_id=None, initializer_range=0.3)),
    # Six heads share one key and value head; positions are scaled; the head is its own.
    "llama3": lambda: LlamaForCausalLM(rotary(LlamaConfig, num_attention_heads=6, num_key_value_heads=1, head_dim=4,
                                              rope_parameters=LLAMA3, rms_norm_eps=1e-5, tie_word_embeddings=False)),
    # The same tied, as the small ones of 3.2.
    "llama3_tied": lambda: LlamaForCausalLM(rotary(
        LlamaConfig, num_attention_heads=6, num_key_value_heads=2, head_dim=4, rope_parameters=LLAMA3,
        rms_norm_eps=1e-5, tie_word_embeddings=True)),
    # As many key and value heads as heads; biases everywhere; tied.
    "llama_biases": lambda: LlamaForCausalLM(rotary(
        LlamaConfig, num_attention_heads=6, num_key_value_heads=6, attention_bias=True, mlp_bias=True,
        rms_norm_eps=1e-5, tie_word_embeddings=True)),
    "qwen2": lambda: Qwen2ForCausalLM(rotary(Qwen2Config, num_attention_heads=6, num_key_value_heads=2,
                                             rope_parameters=dict(rope_type="default", rope_theta=1e6),
                                             tie_word_embeddings=False)),
    # Tied, as the small ones of 2.5.
    "qwen2_tied": lambda: Qwen2ForCausalLM(rotary(Qwen2Config, num_attention_heads=6, num_key_value_heads=1,
                                                  rope_parameters=dict(rope_type="default", rope_theta=1e6),
                                                  tie_word_embeddings=True)),
    # Heads wider together than the model.
    "qwen3": lambda: Qwen3ForCausalLM(rotary(Qwen3Config, num_attention_heads=6, num_key_value_heads=2, head_dim=6,
                                             rope_parameters=dict(rope_type="default", rope_theta=1e6),
                                             tie_word_embeddings=True)),
}


def randomize(model):
    """Biases and norms too: what is 0 or 1 hides mistakes."""
    for name, parameter in model.named_parameters():
        if "norm" in name or "ln_" in name or name.endswith("bias"):
            offset = 0.0 if name.endswith("bias") else 1.0
            parameter.data = offset + 0.2 * torch.randn_like(parameter)


def loss_of(model, inputs, targets):
    logits = model(input_ids=inputs).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1), logits


def optimizer_of(model):
    matrices = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    return torch.optim.AdamW([dict(params=matrices, weight_decay=WEIGHT_DECAY), dict(params=others, weight_decay=0.0)],
                             **ADAMW)


def save(folder, model, tensors):
    """tensors: by the names of the model's parameters."""
    folder.mkdir()
    shutil.copy(folder.parent / "config.json", folder)
    save_file({name: tensors[name].contiguous() for name, _ in model.named_parameters()}, folder / "model.safetensors")


def make(name, build):
    torch.manual_seed(sum(map(ord, name)))
    model = build().float().eval()
    randomize(model)
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    inputs = torch.randint(0, VOCAB, (BATCH, LENGTH))
    targets = torch.randint(0, VOCAB, (BATCH, LENGTH))
    targets[torch.rand(BATCH, LENGTH) < 0.2] = -1
    golden = {"inputs": inputs.tolist(), "targets": targets.tolist()}
    golden["continuation"] = [model.generate(inputs[:1, :n], max_new_tokens=8, do_sample=False)[0, n:].tolist()
                              for n in (5, 9)]
    optimizer, losses = optimizer_of(model), []
    for update in range(4):
        optimizer.zero_grad()
        loss, logits = loss_of(model, inputs, targets)
        losses.append(loss.item())
        if update == 3:
            break
        loss.backward()
        if update == 0:
            golden["logits"] = [[float(f"{x:.8g}") for x in row] for row in logits[0].tolist()]
            save(folder / "grad", model, {key: parameter.grad for key, parameter in model.named_parameters()})
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
    golden["losses"] = losses
    save(folder / "trained", model, {key: parameter.detach() for key, parameter in model.named_parameters()})
    (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(name, sum(p.numel() for p in model.parameters()), [round(x, 4) for x in losses])


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, build in MODELS.items():
        make(name, build)
