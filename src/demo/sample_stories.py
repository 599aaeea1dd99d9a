"""Stories sampled from SmolLM2-135M-Instruct (Apache-2.0), many at a time.

Each slot of the batch holds one story. Its chat prompt asks for a story about somebody and something; the answer is opened
by plain sentences of our own, which keep the small model in plain words. A slot that ends is filled again at once. One JSON
line per story: what was asked, and the text, unfiltered; `corpus.py` filters.

    python sample_stories.py SmolLM2-135M-Instruct.Q4_1.gguf stories.jsonl --seed 1 --minutes 30
"""

import argparse
import json
import random
import time

import tokenizers
import torch
import torch.nn.functional as F
from gguf import GGUFReader
from gguf.quants import dequantize

import words

LAYERS, HEADS, KV_HEADS, HEAD, EPS, THETA = 30, 9, 3, 64, 1e-5, 100000.0


def load(path):
    """The weights in bfloat16 and the tokenizer of the file."""
    reader = GGUFReader(path)
    weights = {t.name: torch.from_numpy(dequantize(t.data, t.tensor_type)).to(torch.bfloat16) for t in reader.tensors}
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ", 1)) for m in reader.fields["tokenizer.ggml.merges"].contents()]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.Digits(True), tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
    return weights, tokenizer


class Batch:
    """One decoder step for every slot, each at a position of its own."""

    def __init__(self, weights, slots, length):
        self.w = weights
        self.k = torch.zeros(LAYERS, slots * KV_HEADS, length, HEAD, dtype=torch.bfloat16)
        self.v = torch.zeros_like(self.k)
        angle = torch.arange(length)[:, None] * THETA ** (-torch.arange(0, HEAD, 2) / HEAD)
        self.cos, self.sin = angle.cos()[:, None], angle.sin()[:, None]
        self.rows = torch.arange(slots * KV_HEADS)
        self.steps = torch.arange(length)

    def rotate(self, x, at):
        a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
        cos, sin = self.cos[at], self.sin[at]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(torch.bfloat16)

    def step(self, tokens, at):
        """Logits of the next token; tokens and positions `at`: one a slot."""
        w, n = self.w, len(tokens)
        x = w["token_embd.weight"][tokens]
        hidden = torch.where(self.steps <= at[:, None], 0.0, float("-inf")).to(torch.bfloat16)
        hidden, spot = hidden.repeat_interleave(KV_HEADS, 0)[:, None], at.repeat_interleave(KV_HEADS)
        for i in range(LAYERS):
            layer = lambda name: w[f"blk.{i}.{name}.weight"]
            norm = F.rms_norm(x, (x.shape[-1],), layer("attn_norm").to(x.dtype), EPS)
            q = self.rotate(F.linear(norm, layer("attn_q")).view(n, HEADS, HEAD), at)
            self.k[i, self.rows, spot] = self.rotate(F.linear(norm, layer("attn_k")).view(n, KV_HEADS, HEAD), at).view(-1, HEAD)
            self.v[i, self.rows, spot] = F.linear(norm, layer("attn_v")).view(-1, HEAD)
            # The whole rows, hidden part and all: a slice would be copied, which costs more.
            score = torch.bmm(q.view(n * KV_HEADS, -1, HEAD), self.k[i].transpose(1, 2)) * HEAD**-0.5 + hidden
            mixed = torch.bmm(score.softmax(-1), self.v[i])
            x = x + F.linear(mixed.view(n, -1), layer("attn_output"))
            norm = F.rms_norm(x, (x.shape[-1],), layer("ffn_norm").to(x.dtype), EPS)
            x = x + F.linear(F.silu(F.linear(norm, layer("ffn_gate"))) * F.linear(norm, layer("ffn_up")), layer("ffn_down"))
        x = F.rms_norm(x, (x.shape[-1],), w["output_norm.weight"].to(x.dtype), EPS)
        return F.linear(x, w["token_embd.weight"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--slots", type=int, default=256)
    parser.add_argument("--length", type=int, default=256, help="prompt and story, in tokens")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--again", type=float, default=3.0)
    parser.add_argument("--min-p", type=float, default=0.08)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    weights, tokenizer = load(args.model)
    end = tokenizer.token_to_id("<|im_end|>")
    batch = Batch(weights, args.slots, args.length)

    def begin():
        request, ask, opening = words.request(rng)
        prompt = f"<|im_start|>user\n{ask}<|im_end|>\n<|im_start|>assistant\n{opening}"
        return {"request": request, "opening": opening, "given": tokenizer.encode(prompt).ids, "new": [], "seen": {}}

    slot = [begin() for _ in range(args.slots)]
    at = torch.zeros(args.slots, dtype=torch.long)
    # Staggered starts: or else all slots would end together and attend over long and short rows by turns.
    delay = [i * 160 // args.slots for i in range(args.slots)]
    tokens = torch.tensor([s["given"][0] for s in slot])
    started, made, stories = time.time(), 0, 0
    with open(args.out, "a") as out, torch.inference_mode():
        while time.time() - started < args.minutes * 60:
            logits = batch.step(tokens, at).float()
            best, ids = logits.topk(24)
            for i, s in enumerate(slot):  # A word that would say four words again is made unlikely: the model likes to circle.
                again = s["seen"].get(tuple(s["new"][-3:]), ())
                if again:
                    best[i, [j for j, t in enumerate(ids[i].tolist()) if t in again]] -= args.again
            best = torch.where(best < best.amax(1, keepdim=True) + torch.tensor(args.min_p).log(), float("-inf"), best)
            drawn = ids.gather(1, (best / args.temperature).softmax(-1).multinomial(1))[:, 0].tolist()
            for i, s in enumerate(slot):
                if delay[i]:
                    delay[i] -= 1
                    continue
                at[i] += 1
                place = int(at[i])
                if place < len(s["given"]):
                    tokens[i] = s["given"][place]
                    continue
                s["seen"].setdefault(tuple(s["new"][-3:]), set()).add(drawn[i])
                s["new"].append(drawn[i])
                tokens[i] = drawn[i]
                made += 1
                if drawn[i] == end or place == args.length - 1:
                    text = s["opening"] + tokenizer.decode(s["new"], skip_special_tokens=True)
                    out.write(json.dumps({"request": s["request"], "whole": drawn[i] == end, "text": text}) + "\n")
                    stories += 1
                    slot[i], at[i] = begin(), 0
                    tokens[i] = slot[i]["given"][0]
                    if stories % 200 == 0:
                        out.flush()
                        spent = time.time() - started
                        print(f"{stories} stories, {made} tokens, {made / spent:.0f} tokens/s", flush=True)


if __name__ == "__main__":
    main()
