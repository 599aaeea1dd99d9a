"""Makes the corpus: stories told by plots, stories sampled from a small model, some of the King James Bible; tokens of it all.

    python corpus.py OUT --sampled stories.jsonl --bible bible.txt

OUT/tokenizer.json      byte-level BPE, trained on the training text
OUT/train.bin           uint16 tokens of the training documents, shuffled
OUT/held-SOURCE.txt     2 % of each source, never trained on: plain text, documents apart by a line of dashes
OUT/held-SOURCE.bin     its tokens
OUT/corpus.json         counts

A document is `BOS text EOS`, or the answer to a user: `BOS <User> request <Assistant> text EOS`. Only the plots answer, so that who asks for
a story gets one that holds together; the sampled stories, which often lose their thread, and the Bible are there as plain text.
"""

import argparse
import collections
import json
import pathlib
import random
import re

import numpy
import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

import plots
import words

VOCAB = 2048
BOS, EOS, USER, ASSISTANT = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"
BREAK = "\n-----\n"
SPLITS = [  # DeepSeek-V3's
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]


def circles(text):
    """Whether a text says the same again and again."""
    words = re.findall(r"[a-z']+", text.lower())
    grams = list(zip(words, words[1:], words[2:]))
    lines = [s.strip() for s in re.split(r"[.!?]\"?\s", text) if len(s) > 12]
    return len(set(grams)) < 0.8 * len(grams) or len(set(lines)) < 0.85 * len(lines)


CLOSINGS = ["It was a very good day.", "They lived happily ever after.", "That night, {h} slept well and had sweet dreams.",
            "And {h} was happy.", "They were friends for ever after.", "{h} went home and told everyone about it.", "The end."]


def close(text):
    """A story that was cut off: up to its last whole paragraph, or else sentence, and a closing sentence of our own."""
    lines = text.split("\n\n")
    text = "\n\n".join(lines[:-1]) if len(lines) > 3 else text[: max(text.rfind(x) for x in (". ", "! ", ".\n", '." ')) + 1]
    names = re.findall("|".join(map(r"\b{}\b".format, {n for group in words.NAMES.values() for n in group})), text)
    closing = CLOSINGS[len(text) % len(CLOSINGS)]
    if not names and "{h}" in closing:
        closing = "The end."
    return f"{text.strip()}\n\n{closing.format(h=names[0] if names else '')}"


def sampled(paths):
    """The sampled stories worth keeping: whole, of some length, in plain letters, not circling, about the one they began with."""
    kept, seen, why = [], set(), collections.Counter()
    for path in paths:
        for line in open(path):
            story = json.loads(line)
            text = re.sub(r"\s*\n\s*\n\s*", "\n\n", story["text"].replace("’", "'").replace("“", '"').replace("”", '"')).strip()
            text = re.sub(r"\s*\bThe (end|End)\.?$", "", text)
            if not story["whole"]:
                text = close(text)
            opening = re.split(r"(?<=[.!?])\s", text)
            fault = (
                "length" if not 420 <= len(text) <= 1400
                else "letters" if not re.fullmatch(r"[A-Za-z0-9 \n.,;:!?'\"()-]+", text)
                else "end" if text[-1] not in '.!?"' or text.count('"') % 2
                else "list" if re.search(r"\n\s*(\d|-|\*)|\(|:\n|story|Story|Title|children", text)
                else "circles" if circles(text)
                else "twice" if (key := " ".join(opening[2:4])) in seen
                else ""
            )
            why[fault or "kept"] += 1
            if not fault:
                seen.add(key)
                kept.append((None, text))
    return kept, why


def bible(path):
    """Passages of some verses, without their numbers, from the books that tell stories."""
    told = {"Genesis", "Ruth", "1 Samuel", "2 Samuel", "1 Kings", "Esther", "Jonah", "Daniel", "Matthew", "Mark", "Luke", "John", "Acts"}
    passages = []
    for chapter in re.split(r"\n(?=[A-Z][\w ]+ \d+\n\n)", pathlib.Path(path).read_text(errors="replace")):
        title, _, text = chapter.strip().partition("\n")
        if title.rsplit(" ", 1)[0] not in told:
            continue
        passage = ""
        for verse in re.split(r"\n? +\d+ ", text):
            passage = f"{passage} {' '.join(verse.split())}".strip()
            if len(passage) > 800:
                passages.append(passage)
                passage = ""
    return passages


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--sampled", nargs="*", default=[])
    parser.add_argument("--bible")
    parser.add_argument("--stories", type=int, default=60000)
    parser.add_argument("--passages", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(exist_ok=True)
    rng = random.Random(args.seed)

    sources = {"plots": list({text: (request, text) for request, text in (plots.story(rng) for _ in range(args.stories))}.values())}
    sources["sampled"], why = sampled(args.sampled)
    verses = bible(args.bible) if args.bible else []
    sources["bible"] = [(None, text) for text in rng.sample(verses, min(len(verses), args.passages))]

    train, held, counts = [], {}, {"filter": dict(why)}
    for name, documents in sources.items():
        rng.shuffle(documents)
        n = len(documents) // 50
        held[name], rest = documents[:n], documents[n:]
        counts[name] = {"documents": len(documents), "held out": n, "bytes": sum(len(t.encode()) for _, t in documents)}
        train += [(request if request and rng.random() < 0.6 else None, text) for request, text in rest]
    rng.shuffle(train)

    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*(pre_tokenizers.Split(Regex(s), "isolated") for s in SPLITS), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        (text for request, text in train[:30000]),
        trainers.BpeTrainer(
            vocab_size=VOCAB,
            special_tokens=[BOS, EOS, USER, ASSISTANT],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    tokenizer.save(str(args.out / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == VOCAB
    bos, eos, user, assistant = (tokenizer.token_to_id(t) for t in (BOS, EOS, USER, ASSISTANT))

    def tokens(documents):
        texts = tokenizer.encode_batch([text for _, text in documents])
        asked = tokenizer.encode_batch([request or "" for request, _ in documents])
        out = []
        for (request, _), text, ask in zip(documents, texts, asked):
            out += [bos, *([user, *ask.ids, assistant] if request else []), *text.ids, eos]
        return numpy.array(out, dtype=numpy.uint16)

    ids = tokens(train)
    ids.tofile(args.out / "train.bin")
    counts["train"] = {"documents": len(train), "tokens": len(ids), "bytes": sum(len(t.encode()) for _, t in train)}
    for name, documents in held.items():
        (args.out / f"held-{name}.txt").write_text(BREAK.join(text for _, text in documents))
        tokens([(None, text) for _, text in documents]).tofile(args.out / f"held-{name}.bin")
    (args.out / "corpus.json").write_text(json.dumps(counts, indent=1) + "\n")
    print(json.dumps(counts, indent=1))


if __name__ == "__main__":
    main()
