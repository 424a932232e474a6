#!/usr/bin/env python3
"""Times whole PyTorch training steps of a known model's shape, for comparison with train_step_bench.

The same work: forward, backward, gradient norm and clipping, fused AdamW, new random tokens each step. Prints
"step SECONDS" for every timed step, then the median and its tokens per second; with --json one JSON object.

  --precision fp32       float32
  --precision autocast   float32 weights, bf16 autocast
  --precision bf16       bf16 weights, gradients and optimizer state (less memory traffic than float32 master weights)
"""
import argparse
import json
import statistics
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

# width, inner, layers, heads, key-value heads, vocabulary (GPT-2's is padded), tied, bias of q, k and v
MODELS = {
    "gpt2-124m": (768, 3072, 12, 12, 12, 50304, True, True),
    "gpt2-1558m": (1600, 6400, 48, 25, 25, 50304, True, True),
    "qwen2.5-1.5b": (1536, 8960, 28, 12, 2, 151936, True, True),
    "llama-3-8b": (4096, 14336, 32, 32, 8, 128256, False, False),
}


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Block(nn.Module):
    def __init__(self, gpt2, width, inner, heads, kv_heads, bias):
        super().__init__()
        self.gpt2, self.heads, self.kv_heads, self.dim = gpt2, heads, kv_heads, width // heads
        norm = nn.LayerNorm if gpt2 else nn.RMSNorm
        self.norm1, self.norm2 = norm(width), norm(width)
        self.qkv = nn.Linear(width, (heads + 2 * kv_heads) * self.dim, bias=bias)
        self.out = nn.Linear(width, width, bias=gpt2)
        self.up = nn.Linear(width, inner if gpt2 else 2 * inner, bias=gpt2)
        self.down = nn.Linear(inner, width, bias=gpt2)

    def forward(self, x, cos, sin):
        b, t, _ = x.shape
        heads, kv = self.heads * self.dim, self.kv_heads * self.dim
        q, k, v = (z.view(b, t, -1, self.dim).transpose(1, 2)
                   for z in self.qkv(self.norm1(x)).split((heads, kv, kv), -1))
        if not self.gpt2:
            q, k = rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.kv_heads != self.heads)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, -1))
        h = self.up(self.norm2(x))
        if self.gpt2:
            return x + self.down(F.gelu(h, approximate="tanh"))
        gate, up = h.chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    def __init__(self, name, layers, length):
        super().__init__()
        width, inner, own_layers, heads, kv_heads, vocab, tied, bias = MODELS[name]
        self.gpt2, self.vocab = name.startswith("gpt2"), vocab
        self.tokens = nn.Embedding(vocab, width)
        if self.gpt2:
            self.positions = nn.Embedding(max(length, 1024), width)
        self.blocks = nn.ModuleList(Block(self.gpt2, width, inner, heads, kv_heads, bias)
                                    for _ in range(layers or own_layers))
        self.norm = (nn.LayerNorm if self.gpt2 else nn.RMSNorm)(width)
        self.head = nn.Linear(width, vocab, bias=False)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)
        if tied:
            self.head.weight = self.tokens.weight
        half = width // heads // 2
        angles = torch.outer(torch.arange(length), 1e4 ** (-torch.arange(half) / half))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids, targets):
        x = self.tokens(ids)
        if self.gpt2:
            x = x + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.view(-1, self.vocab), targets.view(-1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="gpt2-124m")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "autocast", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--batch", type=int, default=4, help="sequences a step")
    parser.add_argument("--micro-batch", type=int, help="of them at a time; all by default")
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--layers", type=int, help="instead of the model's own")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    micro = args.micro_batch or args.batch

    start = time.perf_counter()
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    with torch.device(args.device):
        model = Model(args.model, args.layers, args.length)
    if args.precision == "bf16":
        model = model.bfloat16()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    forward = torch.compile(model) if args.compile else model
    vocabulary = 50257 if model.gpt2 else model.vocab
    seconds, first_step = [], None
    for step in range(-args.warmup, args.steps):
        ids, targets = (torch.randint(vocabulary, (args.batch, args.length), device=args.device) for _ in range(2))
        begin = time.perf_counter()
        total = 0.0
        for first in range(0, args.batch, micro):
            with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "autocast"):
                loss = forward(ids[first:first + micro], targets[first:first + micro]) * micro / args.batch
            loss.backward()
            total = total + loss.detach()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        total = total.item()
        elapsed = time.perf_counter() - begin
        first_step = first_step or time.perf_counter() - start
        if step >= 0:
            seconds.append(elapsed)
            if not args.json:
                print(f"step {elapsed:.6f}", flush=True)
    median = statistics.median(seconds)
    name = f"{args.precision}{' compile' if args.compile else ' eager'}"
    if args.json:
        free, all_bytes = torch.cuda.mem_get_info() if args.device == "cuda" else (0, 0)
        print(json.dumps({"model": args.model, "contender": f"torch {torch.__version__} {name}", "batch": args.batch,
                          "micro_batch": micro, "length": args.length, "median_s": median, "p10_s": min(seconds),
                          "p90_s": max(seconds), "tokens_per_s": args.batch * args.length / median,
                          "used_bytes": all_bytes - free, "first_step_s": first_step, "loss": total}))
        return
    print(f"torch {name} B={args.batch} T={args.length} median {median:.4f} s/step, "
          f"{args.batch * args.length / median:.1f} tokens/s, last loss {total:.4f}")


if __name__ == "__main__":
    main()
