"""Makes `crate/src/text/unicode_classes.bin`: the class of every code point as the regex engine of the
reference tokenizers (Oniguruma, inside the `tokenizers` package) sees it.

    python crate/tests/data/tokenizers/unicode_classes.py

The file is a list of runs from U+0000 on; each run is one LEB128 number, `length << 4 | class`.
The classes are the order of `CLASSES` below plus 0 for everything else; `Class` in unicode.rs repeats them.
"""
from pathlib import Path
from tokenizers import Regex, pre_tokenizers

CLASSES = [r"[\p{Lu}\p{Lt}]", r"\p{Ll}", r"[\p{Lm}\p{Lo}]", r"\p{Nd}", r"\p{Mn}", r"[\p{Mc}\p{Me}]", r"\p{P}", r"\p{S}",
           r"\p{Cc}", r"[\p{Cf}\p{Cs}\p{Co}]", r"[\p{Nl}\p{No}]"]
OUT = Path(__file__).resolve().parents[3] / "src/text/unicode_classes.bin"

classes = bytearray(0x110000)
scalars = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
for number, pattern in enumerate(CLASSES, 1):
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    for low in range(0, len(scalars), 0x4000):
        chunk = scalars[low:low + 0x4000]
        text = "".join(map(chr, chunk))
        inside = bytearray(b"\1" * len(chunk))
        for _, (start, end) in split.pre_tokenize_str(text):
            inside[start:end] = bytes(end - start)
        for code, hit in zip(chunk, inside):
            if hit:
                classes[code] = number

out, start = bytearray(), 0
for code in range(1, 0x110001):
    if code == 0x110000 or classes[code] != classes[start]:
        value = (code - start) << 4 | classes[start]
        while value >= 128:
            out.append(value & 127 | 128)
            value >>= 7
        out.append(value)
        start = code
OUT.write_bytes(out)
print(len(out), "bytes;", {p: sum(c == n for c in classes) for n, p in enumerate(CLASSES, 1)})
