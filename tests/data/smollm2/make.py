"""Makes the reference that wattle's distributions are compared with, from llama.cpp's logits.

    llama_logits MODEL IDS all > logits.json      (any program that prints {"logits": [[...], ...]} for token ids)
    python3 make.py logits.json

MODEL is SmolLM2-135M-Instruct.Q4_1.gguf, IDS the first 512 tokens of text.txt without BOS, joined by commas. Written are
`top.ids.npy` (512, 32) uint16 and `top.logprobs.npy` (512, 32) float32: the 32 likeliest next tokens of each position with their
natural logarithm under the full softmax; what they leave is the probability of "any other token".
"""
import json
import sys

import numpy as np

TOP = 32
logits = np.array(json.load(open(sys.argv[1]))["logits"], dtype=np.float64)
logprobs = logits - logits.max(axis=1, keepdims=True)
logprobs -= np.log(np.exp(logprobs).sum(axis=1, keepdims=True))
ids = np.argsort(-logprobs, axis=1, kind="stable")[:, :TOP]
np.save("top.ids.npy", ids.astype(np.uint16))
np.save("top.logprobs.npy", np.take_along_axis(logprobs, ids, axis=1).astype(np.float32))
