#!/usr/bin/env python3
"""Writes tests/golden/foreign: small models as the reference libraries save them, and what their weights are.

Each model has expected.json: under Frugal's names shape and CRC-32 of the weight as float32, little-endian, row-major,
[out, in], computed here with torch or gguf.quants. Versions: transformers 5.24.0, torch 2.15.0, safetensors 0.8.0,
gguf 0.19.0, numpy 2.4.6. Usage: tests/golden/make_foreign_golden.py
"""
import json
import shutil
import zlib
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent / "foreign"
Q = gguf.GGMLQuantizationType


def expected_of(weights):
    """weights: {our name: float32 array}."""
    return {name: {"shape": list(w.shape), "crc32": zlib.crc32(np.ascontiguousarray(w, np.float32).tobytes())}
            for name, w in sorted(weights.items())}


def write_expected(path, weights):
    path.write_text(json.dumps(expected_of(weights), indent=0) + "\n")


def randomize(model):
    """Norms and biases too: initial ones and zeros would hide mistakes."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return model


def ours_of_gpt2(state):
    """Frugal's names and layout of a GPT2LMHeadModel's weights."""
    plain = {"wte": "embed_tokens", "wpe": "embed_positions", "ln_f": "norm", "ln_1": "input_layernorm",
             "ln_2": "post_attention_layernorm", "attn.c_proj": "self_attn.o_proj", "mlp.c_fc": "mlp.up_proj",
             "mlp.c_proj": "mlp.down_proj"}
    out = {}
    for name, w in state.items():
        w = w.float().numpy()
        module, suffix = name.removeprefix("transformer.").rsplit(".", 1)
        layer = ""
        if module.startswith("h."):
            _, number, module = module.split(".", 2)
            layer = f"layers.{number}."
        if w.ndim == 2 and module not in ("wte", "wpe"):
            w = w.T
        if module == "attn.c_attn":
            for part, values in zip("qkv", np.split(w, 3)):
                out[f"model.{layer}self_attn.{part}_proj.{suffix}"] = values
        else:
            out[f"model.{layer}{plain[module]}.{suffix}"] = w
    return out


def save(model, name, dtype, **options):
    folder = HERE / name
    model = randomize(model).to(dtype)
    model.save_pretrained(folder, **options)
    state = {n: w for n, w in model.state_dict().items()
             if not (n == "lm_head.weight" and model.config.tie_word_embeddings)}
    return folder, state


def make_folders():
    llama, state = save(transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=131, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rope_parameters={
            "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 16},
        bos_token_id=128, eos_token_id=129)), "llama", torch.bfloat16)
    write_expected(llama / "expected.json", {n: w.float().numpy() for n, w in state.items()})
    qwen, state = save(transformers.Qwen2ForCausalLM(transformers.Qwen2Config(
        vocab_size=131, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, max_position_embeddings=64, tie_word_embeddings=True)), "qwen2", torch.float16,
        max_shard_size="9KB")
    assert (qwen / "model.safetensors.index.json").exists()
    write_expected(qwen / "expected.json", {n: w.float().numpy() for n, w in state.items()})
    gpt2, state = save(transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=67, n_embd=20, n_layer=2, n_head=5, n_positions=13, attn_pdrop=0.0,
        embd_pdrop=0.0, resid_pdrop=0.0, bos_token_id=65, eos_token_id=66)), "gpt2", torch.float32)
    write_expected(gpt2 / "expected.json", ours_of_gpt2(state))
    # As the first releases were saved: no prefix, masks among the weights.
    old = HERE / "gpt2-old"
    old.mkdir()
    weights = {n.removeprefix("transformer."): w.contiguous() for n, w in state.items()}
    for layer in range(2):
        weights[f"h.{layer}.attn.bias"] = torch.tril(torch.ones(13, 13, dtype=torch.uint8)).view(1, 1, 13, 13)
        weights[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(weights, old / "model.safetensors")
    shutil.copy(gpt2 / "config.json", old / "config.json")
    write_expected(old / "expected.json", ours_of_gpt2(state))


def interleaved(w, heads):
    """Rows of rotary pairs side by side, as files of the llama architecture have them."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def in_halves(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


class File:
    """A GGUF being written, and the weights that a reader must find."""

    def __init__(self, name, architecture):
        self.path = HERE / name
        self.writer = gguf.GGUFWriter(self.path, architecture)
        self.expected = {}
        self.random = np.random.default_rng(5)

    def add(self, name, shape, kind, ours=(), heads=0):
        """ours: one name, or several that share the rows."""
        w = self.random.standard_normal(shape, np.float32)
        stored = gguf.quants.quantize(interleaved(w, heads) if heads else w, kind)
        self.writer.add_tensor(name, stored, raw_dtype=kind)
        back = gguf.quants.dequantize(stored, kind)
        back = in_halves(back, heads) if heads else back
        parts = [ours] if isinstance(ours, str) else ours
        self.expected.update(zip(parts, np.split(back, max(len(parts), 1))))

    def close(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
        write_expected(self.path.with_suffix(".json"), self.expected)


def make_types():
    """Every type of tensor and of metadata, another alignment."""
    file = File("types.gguf", "llama")
    file.writer.add_custom_alignment(64)
    for bits in (8, 16, 32, 64):
        getattr(file.writer, f"add_uint{bits}")(f"test.u{bits}", 2 ** (bits - 1) + 1 if bits < 64 else 2 ** 62)
        getattr(file.writer, f"add_int{bits}")(f"test.i{bits}", -(2 ** (bits - 1)))
    file.writer.add_float32("test.f32", 1.5e-5)
    file.writer.add_float64("test.f64", -0.1)
    file.writer.add_bool("test.bool", True)
    file.writer.add_string("test.string", "\u00e9\n")
    file.writer.add_array("test.strings", ["", "a", "\u4e2d"])
    file.writer.add_array("test.floats", [0.5, -1.25])
    file.writer.add_array("test.ints", [3, -1, 2])
    file.writer.add_array("test.bools", [True, False])
    for kind in (Q.F32, Q.F16, Q.BF16, Q.Q8_0, Q.Q4_0, Q.Q4_1):
        file.add(f"plain.{kind.name}", (5, 7) if kind in (Q.F32, Q.F16, Q.BF16) else (5, 96), kind, f"plain.{kind.name}")
    file.add("vector", (37,), Q.F32, "vector")
    file.add("cube", (2, 3, 64), Q.Q4_1, "cube")
    file.close()


def make_llama():
    file = File("llama.gguf", "llama")
    w = file.writer
    w.add_block_count(2), w.add_context_length(64), w.add_embedding_length(32), w.add_feed_forward_length(64)
    w.add_head_count(4), w.add_head_count_kv(2), w.add_layer_norm_rms_eps(1e-5), w.add_rope_freq_base(10000.0)
    w.add_rope_dimension_count(8), w.add_vocab_size(131)
    w.add_tokenizer_model("gpt2"), w.add_tokenizer_pre("smollm")
    w.add_token_list([f"t{i}" for i in range(131)]), w.add_token_types([3] + [1] * 130)
    w.add_token_merges(["a b", "c d"]), w.add_bos_token_id(1), w.add_eos_token_id(2), w.add_add_bos_token(False)
    file.add("token_embd.weight", (131, 32), Q.Q8_0, "model.embed_tokens.weight")
    file.add("output_norm.weight", (32,), Q.F32, "model.norm.weight")
    for n in range(2):
        ours = f"model.layers.{n}."
        file.add(f"blk.{n}.attn_norm.weight", (32,), Q.F32, ours + "input_layernorm.weight")
        file.add(f"blk.{n}.attn_q.weight", (32, 32), Q.Q4_1, ours + "self_attn.q_proj.weight", heads=4)
        file.add(f"blk.{n}.attn_k.weight", (16, 32), Q.Q4_0, ours + "self_attn.k_proj.weight", heads=2)
        file.add(f"blk.{n}.attn_v.weight", (16, 32), Q.F16, ours + "self_attn.v_proj.weight")
        file.add(f"blk.{n}.attn_output.weight", (32, 32), Q.BF16, ours + "self_attn.o_proj.weight")
        file.add(f"blk.{n}.ffn_norm.weight", (32,), Q.F32, ours + "post_attention_layernorm.weight")
        file.add(f"blk.{n}.ffn_gate.weight", (64, 32), Q.Q4_1, ours + "mlp.gate_proj.weight")
        file.add(f"blk.{n}.ffn_up.weight", (64, 32), Q.Q8_0, ours + "mlp.up_proj.weight")
        file.add(f"blk.{n}.ffn_down.weight", (32, 64), Q.Q4_1, ours + "mlp.down_proj.weight")
    file.close()


def make_gpt2():
    file = File("gpt2.gguf", "gpt2")
    w = file.writer
    w.add_block_count(1), w.add_context_length(13), w.add_embedding_length(20), w.add_feed_forward_length(80)
    w.add_head_count(5), w.add_layer_norm_eps(1e-5)
    ours = "model.layers.0."
    for name, shape, names in [
            ("token_embd.weight", (67, 20), "model.embed_tokens.weight"),
            ("position_embd.weight", (13, 20), "model.embed_positions.weight"),
            ("output_norm.weight", (20,), "model.norm.weight"), ("output_norm.bias", (20,), "model.norm.bias"),
            ("blk.0.attn_norm.weight", (20,), ours + "input_layernorm.weight"),
            ("blk.0.attn_norm.bias", (20,), ours + "input_layernorm.bias"),
            ("blk.0.attn_qkv.weight", (60, 20), [ours + f"self_attn.{p}_proj.weight" for p in "qkv"]),
            ("blk.0.attn_qkv.bias", (60,), [ours + f"self_attn.{p}_proj.bias" for p in "qkv"]),
            ("blk.0.attn_output.weight", (20, 20), ours + "self_attn.o_proj.weight"),
            ("blk.0.attn_output.bias", (20,), ours + "self_attn.o_proj.bias"),
            ("blk.0.ffn_norm.weight", (20,), ours + "post_attention_layernorm.weight"),
            ("blk.0.ffn_norm.bias", (20,), ours + "post_attention_layernorm.bias"),
            ("blk.0.ffn_up.weight", (80, 20), ours + "mlp.up_proj.weight"),
            ("blk.0.ffn_up.bias", (80,), ours + "mlp.up_proj.bias"),
            ("blk.0.ffn_down.weight", (20, 80), ours + "mlp.down_proj.weight"),
            ("blk.0.ffn_down.bias", (20,), ours + "mlp.down_proj.bias")]:
        file.add(name, shape, Q.F16 if len(shape) == 2 and "position" not in name else Q.F32, names)
    file.close()


def make_q8():
    """Numbers whose blocks are hard to round, and their Q8_0 blocks by gguf.quants."""
    random = np.random.default_rng(9)
    x = random.standard_normal((64, 32), np.float32) * np.exp2(random.integers(-30, 18, (64, 1))).astype(np.float32)
    x[0] = 0
    x[1, :] = np.arange(32) - 15.5  # quotients near halves
    x[2] = np.where(np.arange(32) == 3, 127, np.arange(32) - 15.5)  # halves exactly: away from zero
    (HERE / "q8.f32").write_bytes(x.tobytes())
    (HERE / "q8.blocks").write_bytes(gguf.quants.quantize(x, Q.Q8_0).tobytes())


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    make_folders()
    make_types()
    make_llama()
    make_gpt2()
    make_q8()


if __name__ == "__main__":
    main()
