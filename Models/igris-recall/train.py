"""Trains `igris-recall` on the CPU. Usage: train.py STAGE OUT.npz [--resume X.npz] ...

The network is the one that llama.cpp calls `llama`: RMSNorm, rotary positions, SwiGLU, tied embedding. Matrices learn by
Muon, the embedding and the norms by Adam. A checkpoint holds the weights, their running average (what `export.py` takes)
and the optimiser's state, so that any stage can continue any other.
"""
from __future__ import annotations

import argparse
import ctypes
import math
import os
import random
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
import torch.nn.functional as F

import data

HEAD = 32
VOCABULARY = 262
BF16 = torch.bfloat16

# Stage: (bytes per row, rows, share of the batches), ...
STAGES: dict[str, list[tuple[int, int, float]]] = {
    "copy": [(128, 24, 1.)],
    "short": [(256, 14, .7), (448, 8, .3)],
    "decide": [(160, 22, .35), (320, 11, .4), (448, 8, .2), (768, 5, .05)],
}


def load_kernels() -> ctypes.CDLL:
    """Compiles kernels.c for this machine."""
    source = Path(__file__).with_name("kernels.c")
    with tempfile.TemporaryDirectory() as folder:
        library = folder + "/kernels.so"
        subprocess.run(["cc", "-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math", "-fno-strict-aliasing", "-shared", "-fPIC", "-o", library, source, "-lm"], check=True)
        return ctypes.CDLL(library)


KERNELS = load_kernels()


def call(kernel: str, *arguments: torch.Tensor | int) -> None:
    """Runs a function of kernels.c. The tensors must be contiguous."""
    getattr(KERNELS, kernel)(*[ctypes.c_void_p(x.data_ptr()) if isinstance(x, torch.Tensor) else ctypes.c_long(x) for x in arguments])


class RMSNorm(torch.autograd.Function):
    """x / rms(x) * w, from floats to brain floats."""

    @staticmethod
    def forward(ctx, x, w):
        out, scale = torch.empty(x.shape, dtype=BF16), torch.empty(x.shape[:-1])
        call("norm_forward", x, w, out, scale, scale.numel(), x.shape[-1])
        ctx.save_for_backward(x, w, scale)
        return out

    @staticmethod
    def backward(ctx, grad):
        x, w, scale = ctx.saved_tensors
        grad, dx, dw = grad.contiguous(), torch.empty_like(x), torch.zeros_like(w)
        call("norm_backward", grad, x, w, scale, dx, dw, scale.numel(), x.shape[-1])
        return dx, dw


class SwiGLU(torch.autograd.Function):
    """silu(first half) * second half."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        rows, half = x.numel() // x.shape[-1], x.shape[-1] // 2
        out = torch.empty((*x.shape[:-1], half), dtype=BF16)
        call("swiglu_forward", x, out, rows, half)
        return out

    @staticmethod
    def backward(ctx, grad):
        x, = ctx.saved_tensors
        grad, dx = grad.contiguous(), torch.empty_like(x)
        call("swiglu_backward", grad, x, dx, x.numel() // x.shape[-1], x.shape[-1] // 2)
        return dx


class SplitHeads(torch.autograd.Function):
    """q, k, v as floats, (batch, head, time, 32); q and k turned by their positions. The two halves of a head form the pairs;
    `export.py` reorders the rows to llama's interleaved pairs."""

    @staticmethod
    def forward(ctx, qkv, cos, sin):
        rows, length, width = qkv.shape
        ctx.save_for_backward(cos, sin)
        ctx.shape = rows, length, width // 3 // HEAD
        q, k, v = (torch.empty(rows, width // 3 // HEAD, length, HEAD) for _ in range(3))
        call("split_heads", qkv, cos, sin, q, k, v, *ctx.shape)
        return q, k, v

    @staticmethod
    def backward(ctx, dq, dk, dv):
        rows, length, heads = ctx.shape
        dqkv = torch.empty(rows, length, 3 * heads * HEAD, dtype=BF16)
        dq, dk, dv = dq.contiguous(), dk.contiguous(), dv.contiguous()
        call("join_heads", dq, dk, dv, *ctx.saved_tensors, dqkv, *ctx.shape)
        return dqkv, None, None


class Model:
    """The weights: `attn` holds q, k, v, o of each layer, `wide` gate and up, `down` the way back."""

    def __init__(self, width: int, layers: int, hidden: int):
        self.width, self.layers = width, layers
        deep = 1 / math.sqrt(2 * layers)
        scale = torch.tensor([1., 1., 1., deep])[None, :, None, None]
        self.p = {
            "emb": torch.randn(VOCABULARY, width) * .05,
            "norms": torch.ones(2 * layers + 1, width),
            "attn": torch.randn(layers, 4, width, width) * width ** -.5 * scale,
            "wide": torch.randn(layers, 2, width, hidden) * width ** -.5,
            "down": torch.randn(layers, hidden, width) * hidden ** -.5 * deep,
        }
        self.frequencies = 10000. ** (-torch.arange(0, HEAD, 2) / HEAD)
        for x in self.p.values():
            x.requires_grad_()

    def loss(self, ids, positions, weights, targets) -> tuple[torch.Tensor, float]:
        """The weighted mean loss over the tokens that count, and the share of them that is right."""
        p, (rows, length) = self.p, ids.shape
        x = F.embedding(ids, p["emb"])
        angle = positions[..., None] * self.frequencies
        cos, sin = angle.cos(), angle.sin()
        for i in range(self.layers):
            h = RMSNorm.apply(x, p["norms"][2 * i])
            q, k, v = SplitHeads.apply(h @ p["attn"][i, :3].permute(1, 0, 2).reshape(self.width, -1).to(BF16), cos, sin)
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # in floats: the bf16 kernel for the CPU is slower
            x = x + mixed.transpose(1, 2).reshape(rows, length, -1).to(BF16) @ p["attn"][i, 3].to(BF16)
            h = RMSNorm.apply(x, p["norms"][2 * i + 1])
            h = SwiGLU.apply(h @ p["wide"][i].permute(1, 0, 2).reshape(self.width, -1).to(BF16))
            x = x + h @ p["down"][i].to(BF16)
        counted = (weights > 0).flatten().nonzero().flatten()
        h = RMSNorm.apply(x.reshape(-1, self.width)[counted], p["norms"][-1])
        logits = (h @ p["emb"].T.to(BF16)).float()
        targets, weights = targets.flatten()[counted], weights.flatten()[counted]
        each = F.cross_entropy(logits, targets, reduction="none")
        full = weights > .9
        right = (logits.detach().argmax(-1) == targets)[full].float().mean().item()
        return (each * weights).sum() / weights.sum(), right


def orthogonal(g: torch.Tensor) -> torch.Tensor:
    """Muon's Newton-Schulz iteration, on a stack of matrices that are at least as wide as tall."""
    x = g.to(BF16)
    x = x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.775 * a + 2.0315 * a @ a) @ x
    return x.float()


class Optimiser:
    """Muon for matrices, Adam for the rest, and a running average of the weights."""

    def __init__(self, p: dict[str, torch.Tensor]):
        self.p = p
        self.first = {k: torch.zeros_like(x) for k, x in p.items()}
        self.second = {k: torch.zeros_like(p[k]) for k in ("emb", "norms")}
        self.mean = {k: x.detach().clone() for k, x in p.items()}
        self.step = 0

    @torch.no_grad()
    def update(self, rate: float) -> None:
        self.step += 1
        for k, x in self.p.items():
            g, m = x.grad, self.first[k]
            if k in self.second:
                v = self.second[k]
                m.mul_(.9).add_(g, alpha=.1)
                v.mul_(.98).addcmul_(g, g, value=.02)
                x.add_((m / (1 - .9 ** self.step)) / ((v / (1 - .98 ** self.step)).sqrt() + 1e-8), alpha=-rate * .25)
            else:
                m.mul_(.95).add_(g, alpha=.05)
                look = (.95 * m + .05 * g).flatten(0, -3)
                tall = look.shape[-2] > look.shape[-1]
                turn = orthogonal(look.mT if tall else look)
                turn = (turn.mT * (look.shape[-2] / look.shape[-1]) ** .5 if tall else turn).reshape(x.shape)
                x.mul_(1 - rate * .02).add_(turn, alpha=-rate)
            x.grad = None
            keep = min(.998, self.step / (self.step + 20))
            self.mean[k].mul_(keep).add_(x, alpha=1 - keep)

    def save(self, path: str) -> None:
        state = {"step": np.array(self.step)}
        for name, part in (("p", self.p), ("first", self.first), ("second", self.second), ("mean", self.mean)):
            state |= {f"{name}.{k}": x.detach().numpy() for k, x in part.items()}
        np.savez(path + ".part.npz", **state)
        os.replace(path + ".part.npz", path)

    @torch.no_grad()
    def load(self, path: str) -> None:
        state = np.load(path)
        self.step = int(state["step"])
        for name, part in (("p", self.p), ("first", self.first), ("second", self.second), ("mean", self.mean)):
            for k, x in part.items():
                x.copy_(torch.from_numpy(state[f"{name}.{k}"]))


def batch(values: data.Values, length: int, rows: int, simple: bool, user_weight: float):
    """Rows of one dialogue each, cut at `length`. In a fifth of them messages lie further apart than they are long:
    so a short row teaches the distances of a long one."""
    r = values.rng
    ids = np.full((rows, length + 1), data.BOS, np.int64)
    weights = np.zeros((rows, length + 1), np.float32)
    positions = np.tile(np.arange(length + 1, dtype=np.float32), (rows, 1))
    for i in range(rows):
        talk = data.conversation(values, length, most_facts=r.choice([2, 3] if length < 200 else [3, 5, 8, 8, 12 if length > 600 else 6]), simple=simple)
        tokens, loss, starts = (part[:length + 1] for part in data.encode(talk))
        ids[i, :len(tokens)] = tokens
        weights[i, :len(tokens)] = [w or user_weight for w in loss]
        if r.random() < .2:
            room = 2000 - length
            for start in r.sample(starts, min(len(starts), r.randint(1, 3))):
                if start <= length and room > 0:
                    gap = r.randint(0, room) if r.random() < .5 else r.randint(0, room // 8)
                    positions[i, start:] += gap
                    room -= gap
    t = torch.from_numpy
    return t(ids[:, :-1]), t(positions[:, :-1]), t(weights[:, 1:].copy()), t(ids[:, 1:])


def main() -> None:
    a = argparse.ArgumentParser()
    a.add_argument("stage", choices=STAGES)
    a.add_argument("out")
    a.add_argument("--resume")
    a.add_argument("--tokens", type=float, default=1e6, help="how many tokens this stage sees")
    a.add_argument("--minutes", type=float, default=1e9, help="end, and cool, earlier if the clock says so")
    a.add_argument("--rate", type=float, default=.02)
    a.add_argument("--cool", type=float, default=0., help="share of the stage over which the rate falls to zero")
    a.add_argument("--seed", type=int, default=7)
    a.add_argument("--shape", default="128x4x384", help="width x layers x hidden")
    o = a.parse_args()
    threads = int(os.environ["OMP_NUM_THREADS"])
    torch.set_num_threads(threads)
    torch.manual_seed(o.seed)
    model = Model(*map(int, o.shape.split("x")))
    optimiser = Optimiser(model.p)
    if o.resume:
        optimiser.load(o.resume)
    values = data.Values(random.Random(o.seed))
    kinds = STAGES[o.stage]
    began = shown = time.time()
    seen, loss_mean, right_mean = 0, None, None
    while (done := max(seen / o.tokens, (time.time() - began) / 60 / o.minutes)) < 1:
        length, rows, _ = values.rng.choices(kinds, [k[2] for k in kinds])[0]
        simple = o.stage == "copy" and values.rng.random() < .8
        loss, right = model.loss(*batch(values, length, rows, simple, .03 if o.stage == "copy" else 0.))
        loss.backward()
        warm = min(1., (optimiser.step + 1) / 60)
        cool = min(1., (1 - done) / o.cool) if o.cool else 1.
        optimiser.update(o.rate * warm * cool)
        seen += length * rows
        loss_mean = loss.item() if loss_mean is None else .98 * loss_mean + .02 * loss.item()
        right_mean = right if right_mean is None else .98 * right_mean + .02 * right
        if time.time() - shown > 20:
            shown = time.time()
            print(f"{(shown - began) / 60:6.1f} min, cpu {time.process_time() / 60:5.1f} min, step {optimiser.step}, {seen / 1e6:.2f} M tokens, "
                  f"loss {loss_mean:.4f}, right {right_mean:.4f}", flush=True)
            optimiser.save(o.out)
    optimiser.save(o.out)
    print(f"end: {(time.time() - began) / 60:.1f} min, cpu {time.process_time() / 60:.1f} min, {seen / 1e6:.2f} M tokens, loss {loss_mean:.4f}, right {right_mean:.4f}")


if __name__ == "__main__":
    main()
