"""Makes quant_golden.bin: for each block format, in the order of quant/mod.rs, four blocks of random bytes and
the values that the reference decodes them to. Needs the packages gguf and numpy.

    python3 make_quant_golden.py
"""
import numpy as np
from gguf import GGMLQuantizationType as T, GGML_QUANT_SIZES
from gguf.quants import dequantize

rng = np.random.default_rng(7)
# Where each format keeps its f16 factors; random ones would often be infinite.
HALVES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82], T.Q3_K: [108],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0]}
SCALES = np.array([0.01, -0.37, 6e-6, 1.5], dtype=np.float16)  # the third is subnormal

with open("quant_golden.bin", "wb") as out:
    for kind, places in HALVES.items():
        length, size = GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (4, size), dtype=np.uint8)
        for at in places:
            blocks[:, at:at + 2] = np.roll(SCALES, at).view(np.uint8).reshape(4, 2)
        out.write(blocks.tobytes())
        out.write(dequantize(blocks, kind).astype("<f4").tobytes())
