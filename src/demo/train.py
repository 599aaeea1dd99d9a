"""Trains wattle-tales. Stops after --minutes of training, over all runs; goes on from OUT/checkpoint.pt when there is one.

    python train.py CORPUS OUT --minutes 70

Matrices are trained by Muon (K. Jordan 2024: momentum made orthogonal by Newton-Schulz steps), embedding, head, router and norms by AdamW.
The rates follow the share of the time that is spent: up over 2 %, level, and from 40 % on straight down to nothing.
OUT/log.csv: step, seconds, tokens, loss, loss of the MTP layer, held-out nats a token by source at some steps.
"""

import argparse
import csv
import functools
import pathlib
import time

import numpy
import torch
import torch.nn.functional as F

from model import Config, Tales

BATCH, MTP_ROWS, MTP_WEIGHT = 16, 4, 0.3
MUON, ADAM, DECAY, BALANCE = 0.02, 0.003, 0.02, 0.001


@torch.no_grad()
def orthogonal(g):
    """The nearest matrix with singular values near one, for a stack of matrices; Newton-Schulz of fifth degree in bfloat16."""
    x, tall = g.bfloat16(), g.shape[-2] > g.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.mT if tall else x).float()


class Muon:
    def __init__(self, params):
        self.params, self.momentum = list(params), [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step(self, rate):
        shapes = {}
        for p, m in zip(self.params, self.momentum):
            m.lerp_(p.grad, 0.05)
            shapes.setdefault(p.shape, []).append((p, p.grad.lerp(m, 0.95)))
        for shape, pairs in shapes.items():
            made = orthogonal(torch.stack([g for _, g in pairs])) * max(1.0, shape[-2] / shape[-1]) ** 0.5
            for (p, _), update in zip(pairs, made):
                p.mul_(1 - rate * DECAY).sub_(update, alpha=rate)


@functools.lru_cache(maxsize=2)
def order(rows, turn, seed):
    return numpy.random.default_rng((seed, turn)).permutation(rows)


def row(stream, t, i, seed):
    """Row `i` of the training: t + 2 tokens of the stream. Each time through, the rows come in another order, and shifted."""
    rows = (len(stream) - 1) // t - 1
    turn, place = divmod(i, rows)
    start = int(order(rows, turn, seed)[place]) * t + turn * 97 % t
    return stream[start : start + t + 2].astype(numpy.int64)


def held_out(model, ids, rows=24):
    """Mean nats a token on the head of a source."""
    t = model.c.context
    n = min(rows, (len(ids) - 1) // t)
    ids = torch.from_numpy(ids[: n * t + 1].astype(numpy.int64))
    model.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = model.head(model(ids[:-1].view(n, t))).float()
    model.train()
    return F.cross_entropy(logits.flatten(0, 1), ids[1:]).item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=70)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(exist_ok=True)
    torch.manual_seed(args.seed)
    torch.set_num_threads(2)
    config = Config()
    model = Tales(config)
    model.train()
    by_adam = [p for n, p in model.named_parameters() if p.ndim < 2 or any(x in n for x in ("embed", "head", "router"))]
    muon = Muon([p for p in model.parameters() if all(p is not q for q in by_adam)])
    adam = torch.optim.AdamW(by_adam, lr=0, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    train = numpy.fromfile(args.corpus / "train.bin", dtype=numpy.uint16)
    held = {p.stem[5:]: numpy.fromfile(p, dtype=numpy.uint16) for p in sorted(args.corpus.glob("held-*.bin"))}
    step, spent, t = 0, 0.0, config.context
    saved = args.out / "checkpoint.pt"
    if saved.exists():
        state = torch.load(saved)
        model.load_state_dict(state["model"])
        adam.load_state_dict(state["adam"])
        muon.momentum, step, spent = state["muon"], state["step"], state["spent"]
    for layer in model.layers:
        for part in ("attn", "attn_norm", "ffn_norm"):
            getattr(layer, part).compile()
        (getattr(layer.ffn, "shared", layer.ffn)).compile()
    with open(args.out / "log.csv", "a", newline="") as file:
        log = csv.writer(file)
        if not step:
            log.writerow(["step", "seconds", "tokens", "loss", "mtp_loss", *held])
        loss_sum, mtp_sum, since = 0.0, 0.0, 0
        while (share := spent / (args.minutes * 60)) < 1:
            began = time.time()
            rate = min(1.0, share / 0.02 + 0.01, (1 - share) / 0.6)
            rows = [row(train, t, i, args.seed) for i in range(step * BATCH, (step + 1) * BATCH)]
            ids = torch.from_numpy(numpy.stack(rows))
            with torch.autocast("cpu", torch.bfloat16):
                hidden = model(ids[:, :t])
                logits = model.head(hidden)
                ahead = model.embed(ids[:MTP_ROWS, 1 : t + 1]).to(hidden.dtype)
                mtp_logits = model.head(model.mtp(ahead, hidden[:MTP_ROWS], model.cos[:t], model.sin[:t]))
            loss = F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1 : t + 1].flatten())
            mtp = F.cross_entropy(mtp_logits.float().flatten(0, 1), ids[:MTP_ROWS, 2 : t + 2].flatten())
            (loss + MTP_WEIGHT * mtp).backward()
            torch.nn.utils.clip_grad_norm_(by_adam, 1.0)
            for group in adam.param_groups:
                group["lr"] = ADAM * rate
            adam.step()
            muon.step(MUON * rate)
            model.balance(BALANCE if share < 0.95 else 0.0)
            for p in model.parameters():
                p.grad = None
            step, spent, since = step + 1, spent + time.time() - began, since + 1
            loss_sum, mtp_sum = loss_sum + loss.item(), mtp_sum + mtp.item()
            ends = spent >= args.minutes * 60
            if step % 20 == 0 or ends:
                nats = [f"{held_out(model, ids):.4f}" for ids in held.values()] if step % 200 == 0 or ends else []
                log.writerow([step, round(spent), step * BATCH * t, f"{loss_sum / since:.4f}", f"{mtp_sum / since:.4f}", *nats])
                file.flush()
                loss_sum, mtp_sum, since = 0.0, 0.0, 0
            if step % 200 == 0 or ends:
                torch.save({"model": model.state_dict(), "adam": adam.state_dict(), "muon": muon.momentum, "step": step, "spent": spent}, saved)


if __name__ == "__main__":
    main()
