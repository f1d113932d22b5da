"""Makes `golden.json`: tiny tokenizers trained with the `tokenizers` package, and the ids that it gives for
strings that tokenizers get wrong.

    python crate/tests/data/tokenizers/golden.py
"""
import json
from pathlib import Path
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = Path(__file__).resolve().parent
CORPUS = (HERE.parent / "reference/ppl-text.txt").read_text()[:12000]
STRINGS = [
    "", " ", "  ", "   a", "a   ", "\n", "\n\n", "\r\n", " \n ", "\n \n\n  x", "a\t\tb", "a \u00a0b", "a\u3000b", "\u0085", "a\u0085\u0085b",
    "Hello, world!", "it's we'll I'VE they'RE don'T 'S ''s 'ſ x'd", "HTTPServer camelCase snake_case ABCdef dzǅaⅧ",
    "1 12 123 1234 12345.678 x9y ½ ² Ⅷ ١٢٣ 一二三", "naïve café Zürich cafe\u0301 e\u0301\u0323", "العربية اللغة", "ภาษาไทย กำลัง", "हिन्दी की",
    "中文字符，日本語のテキスト。한국어", "😀👍🏽👨‍👩‍👧‍👦🇫🇷 🤖", "zero\u200bwidth\u200djoin\ufeff", "\x00\x01\x1f\x7f", "for(int i=0;i<n;++i){a[i]=b[i]*2;}",
    "def f(x):\n    return x**2  # é\n\n\n\tpass", "a/b//c \\n http://x.org/?q=1&r=2", "...!!!???---", "$5.00 10%-20% #tag @me", "ﬁ ﬂ Ω Ω K Å",
    "\u1680x\u2028y\u2029z", "Русский ТЕКСТ и Ёж", "ΑΒΓ αβγς", "\U0010ffff\ue000", "x" * 300, "ab " * 60, " " * 70 + "z", "The License and the Work. " * 5,
    "!\n\n a!\r\n\r\nb /x\n/", "a\u0300\u0301b \u0300c", "'\u0300s", "don't\u2019s", "[UNK] <unk> [CLS]", "▁a ▁▁b",
]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT4O = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = GPT4O.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace("{1,3}", "")
DEEPSEEK = [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""]
QWEN35 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def split(*patterns):
    return pre_tokenizers.Sequence([*(pre_tokenizers.Split(Regex(p), "isolated") for p in patterns), BYTES])


PRE = {
    "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    "smollm": pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    "llama-bpe": split(LLAMA3), "qwen2": split(LLAMA3.replace("{1,3}", "")), "gpt-4o": split(GPT4O), "tekken": split(TEKKEN),
    "qwen35": split(QWEN35), "deepseek-v3": split(*DEEPSEEK),
}
corpus = [line + "\n" for line in CORPUS.split("\n")] + STRINGS * 3
out = {}


def golden(name, tokenizer):
    model = json.loads(tokenizer.to_str())["model"]
    strings = [[text, tokenizer.encode(text, add_special_tokens=False).ids] for text in STRINGS]
    out[name] = {"model": model, "strings": strings}
    if name in PRE:
        # Where the pieces end, in characters.
        out[name]["cuts"] = [[end for _, (_, end) in tokenizer.pre_tokenizer.pre_tokenize_str(text)] for text in STRINGS]


for name, pre in PRE.items():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre
    tokenizer.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    golden(name, tokenizer)

tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
special = ["<unk>"] + [f"<0x{b:02X}>" for b in range(256)]
tokenizer.train_from_iterator([CORPUS], trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False, max_token_length=12))
trained = json.loads(tokenizer.to_str())
trained["added_tokens"] = [t for t in trained["added_tokens"] if t["id"] == 0]
golden("sentencepiece", Tokenizer.from_str(json.dumps(trained)))

tokenizer = Tokenizer(models.Unigram())
tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
tokenizer.train_from_iterator([CORPUS], trainers.UnigramTrainer(vocab_size=400, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False))
golden("unigram", tokenizer)

tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer()
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer.train_from_iterator([CORPUS, *STRINGS[:24]], trainers.WordPieceTrainer(vocab_size=500, special_tokens=["[UNK]", "[CLS]"], show_progress=False))
golden("wordpiece", tokenizer)

(HERE / "golden.json").write_text(json.dumps(out, ensure_ascii=True, separators=(",", ":")) + "\n")
