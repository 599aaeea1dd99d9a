"""Bits a byte of the held-out texts: the model, gzip, xz, and a 5-gram over the same tokens (Witten-Bell), trained on the same text.

    python compare.py CORPUS RUN/checkpoint.pt

The model and the 5-gram pay for every token of a document and its end, each document on its own; gzip and xz take the whole file.
"""

import gzip
import lzma
import pathlib
import sys

import numpy
import torch
import torch.nn.functional as F

import corpus
from model import Config, Tales

BITS, ORDER = 11, 5  # a token is 11 bits, so that a 5-gram is one integer of 55


class Ngram:
    """p_n(w | h) = (c(h w) + N(h) p_{n-1}(w | shorter h)) / (c(h) + N(h)), N(h) = how many words were seen after h."""

    def __init__(self, ids):
        self.levels = []
        gram = numpy.zeros(len(ids), dtype=numpy.uint64)
        for n in range(1, ORDER + 1):
            # gram[i] = the n tokens that end at i
            gram[n - 1 :] |= ids[: len(ids) - n + 1].astype(numpy.uint64) << numpy.uint64(BITS * (n - 1))
            keys, counts = numpy.unique(gram[n - 1 :], return_counts=True)
            heads, start = numpy.unique(keys >> numpy.uint64(BITS), return_index=True)
            self.levels.append((keys, counts, heads, numpy.add.reduceat(counts, start), numpy.diff([*start, len(keys)])))

    def nats(self, ids):
        p, gram = numpy.full(len(ids), 2.0**-BITS), numpy.zeros(len(ids), dtype=numpy.uint64)
        for n, (keys, counts, heads, totals, kinds) in enumerate(self.levels, 1):
            gram[n - 1 :] |= ids[: len(ids) - n + 1].astype(numpy.uint64) << numpy.uint64(BITS * (n - 1))
            find = lambda table, key: numpy.minimum(numpy.searchsorted(table, key), len(table) - 1)
            i, j = find(keys, gram), find(heads, gram >> numpy.uint64(BITS))
            c = numpy.where(keys[i] == gram, counts[i], 0)
            known = heads[j] == gram >> numpy.uint64(BITS)
            total, kind = numpy.where(known, totals[j], 0), numpy.where(known, kinds[j], 0)
            better = (c + kind * p) / numpy.maximum(total + kind, 1)
            p = numpy.where((total > 0) & (numpy.arange(len(ids)) >= n - 1), better, p)
        return -numpy.log(p)


def documents(ids):
    """The documents of a stream, each with its BOS."""
    starts = numpy.flatnonzero(ids == 0)
    return numpy.split(ids, starts[1:])


def model_nats(model, docs):
    total, n = 0.0, model.c.context
    with torch.inference_mode():
        for doc in docs:
            doc = torch.from_numpy(doc.astype(numpy.int64))
            # A document longer than the context goes on in a new one, after the last token of the one before.
            for part in range(0, len(doc) - 1, n):
                piece = doc[part : part + n + 1]
                logits = model.head(model(piece[None, :-1])).float()
                total += F.cross_entropy(logits[0], piece[1:], reduction="sum").item()
    return total


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.set_num_threads(2)
    state = torch.load(sys.argv[2], map_location="cpu")["model"]
    model = Tales(Config())
    model.load_state_dict({name.replace("._orig_mod", ""): t for name, t in state.items()})
    model.eval()
    ngram = Ngram(numpy.fromfile(folder / "train.bin", dtype=numpy.uint16))
    print("| held out | bytes | wattle-tales | 5-gram | xz -9 | gzip -9 |\n|---|---|---|---|---|---|")
    for name in ("plots", "sampled", "bible"):
        text = (folder / f"held-{name}.txt").read_bytes()
        docs = documents(numpy.fromfile(folder / f"held-{name}.bin", dtype=numpy.uint16))
        size = len(text) - (len(docs) - 1) * len(corpus.BREAK)
        grams = sum(ngram.nats(doc)[1:].sum() for doc in docs)
        bits = numpy.array([model_nats(model, docs), grams]) / numpy.log(2) / size
        packed = [8 * len(lzma.compress(text, preset=9)) / len(text), 8 * len(gzip.compress(text, 9)) / len(text)]
        print(f"| {name} | {size} | {bits[0]:.3f} | {bits[1]:.3f} | {packed[0]:.3f} | {packed[1]:.3f} |", flush=True)


if __name__ == "__main__":
    main()
