"""Makes `json_golden.json`: small `tokenizer.json` files of every kind of part, written by the `tokenizers`
package, with the ids that it gives for strings that tokenizers get wrong, with and without what the
post-processor adds, and the text that it makes of them. With the folder of a model's `tokenizer.json` as the
argument, also the ids of that (`minilm.tokenizer.json`), whose file is not stored.

    python crate/tests/data/tokenizers/json_golden.py [FOLDER]
"""
import base64
import json
import struct
import sys
from pathlib import Path
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers as n, pre_tokenizers as p, processors, trainers

HERE = Path(__file__).resolve().parent
CORPUS = (HERE.parent / "reference/ppl-text.txt").read_text()[:9000]
STRINGS = [
    "", " ", "   a", "a   ", "\n\n", "a\t\tb", "a \u00a0b", "a\u3000b\u0085", "Hello, world!", "it's we'll I'VE don'T 'S",
    "HTTPServer camelCase snake_case", "1 12 123 1234.5 x9y ½ ² Ⅷ ١٢٣ 一二三", "naïve café Zürich cafe\u0301 e\u0301\u0323", "العربية ภาษาไทย हिन्दी की",
    "中文字符，日本語のテキスト。한국어", "😀👍🏽👨‍👩‍👧 🤖", "zero\u200bwidth\u200djoin\ufeff", "\x00\x01\x7f", "for(int i=0;i<n;++i){a[i]=b*2;}",
    "...!!!???---", "$5.00 10%-20% #tag @me", "ﬁ Ω Ⅳ ＡＢＣ", "Русский ТЕКСТ и Ёж", "The License and the Work. " * 2, "x" * 120,
    "▁a ▁▁b", "<s>The </s> work<mask> a <mask>b", "[CLS] x [MASK]y[SEP]", "<unk> [UNK]", "license<sep>work <sep> the", "a‿b_c",
]
BYTES = p.ByteLevel.alphabet()
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
out = {}


def golden(name, tokenizer):
    strings = []
    for text in STRINGS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        whole = tokenizer.encode(text).ids
        strings.append([text, ids, whole, tokenizer.decode(ids)])
    out[name] = {"file": json.loads(tokenizer.to_str()), "strings": strings}


def bpe(name, pre, size=340, special=(), normalizer=None, decoder=None, post=None, added=(), alphabet=BYTES, model=None, **trainer):
    tokenizer = Tokenizer(model or models.BPE())
    tokenizer.pre_tokenizer = pre
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.train_from_iterator([CORPUS], trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, special_tokens=list(special), show_progress=False, **trainer))
    tokenizer.decoder = decoder or decoders.ByteLevel()
    if post:
        tokenizer.post_processor = post(tokenizer)
    tokenizer.add_tokens(list(added))
    golden(name, tokenizer)
    return tokenizer


def template(t):
    ids = [(s, t.token_to_id(s)) for s in ("<s>", "</s>")]
    return processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=ids)


SPECIAL = ["<s>", "</s>", "<unk>"]
MASK = AddedToken("<mask>", lstrip=True, special=True)
SEP = AddedToken("<sep>", single_word=True, normalized=True)

# Byte-level BPE: GPT-2, RoBERTa, Llama 3, Qwen.
bpe("gpt2", p.ByteLevel(add_prefix_space=False))
bpe("roberta", p.ByteLevel(add_prefix_space=True), special=SPECIAL, added=[MASK],
    post=lambda t: processors.RobertaProcessing(("</s>", 1), ("<s>", 0)))
bpe("llama3", p.Sequence([p.Split(Regex(LLAMA3), "isolated"), p.ByteLevel(add_prefix_space=False, use_regex=False)]), special=SPECIAL,
    post=lambda t: processors.Sequence([processors.ByteLevel(), template(t)]), model=models.BPE(ignore_merges=True))
bpe("smollm", p.Sequence([p.Digits(True), p.ByteLevel(add_prefix_space=False)]), normalizer=n.NFC(), added=[SEP])
bpe("punctuated", p.Sequence([p.Punctuation("contiguous"), p.Digits(False), p.ByteLevel(add_prefix_space=False)]),
    normalizer=n.Sequence([n.NFKC(), n.Lowercase()]), added=[SEP])
# SentencePiece as BPE with bytes (Llama 2, Mistral), and the newer form with Metaspace.
LETTERS = sorted(set(CORPUS) | set("▁"))
BYTE_TOKENS = SPECIAL + [f"<0x{b:02X}>" for b in range(256)]


def pieces(name, pre, normalizer, decoder):
    t = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    t.pre_tokenizer, t.normalizer = pre, normalizer
    t.train_from_iterator([CORPUS], trainers.BpeTrainer(vocab_size=480, special_tokens=BYTE_TOKENS, show_progress=False, max_token_length=10))
    file = json.loads(t.to_str())
    file["added_tokens"] = [token for token in file["added_tokens"] if token["id"] < 3]
    t = Tokenizer.from_str(json.dumps(file))
    t.decoder = decoder
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)])
    golden(name, t)


pieces("llama2", None, n.Sequence([n.Prepend("▁"), n.Replace(" ", "▁")]),
       decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]))
pieces("metaspace-first", p.Metaspace(prepend_scheme="first", split=False), None,
       decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]))
pieces("metaspace-never", p.Metaspace(prepend_scheme="never"), None, decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="never")]))

# Characters with a suffix (CLIP, old GPT) and with a prefix.
bpe("suffix", p.Whitespace(), special=["<unk>"], alphabet=[], normalizer=n.Sequence([n.NFD(), n.StripAccents(), n.Lowercase()]),
    model=models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), decoder=decoders.BPEDecoder("</w>"), end_of_word_suffix="</w>")
CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
bpe("clip", p.Sequence([p.Split(Regex(CLIP), "removed", True), p.ByteLevel(add_prefix_space=False)]), size=700, special=["<|startoftext|>", "<|endoftext|>"],
    normalizer=n.Sequence([n.NFC(), n.Replace(Regex(r"\s+"), " "), n.Lowercase()]), model=models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"),
    post=lambda t: processors.RobertaProcessing(("<|endoftext|>", 1), ("<|startoftext|>", 0), True, False), end_of_word_suffix="</w>")
# Gemma: one piece, spaces as marks.
t = Tokenizer.from_str(json.dumps(out["llama2"]["file"]))
t.normalizer, t.pre_tokenizer = n.Replace(" ", "▁"), p.Split(" ", "merged_with_previous")
t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
golden("gemma", t)
bpe("prefix", p.WhitespaceSplit(), special=["<unk>"], alphabet=[], normalizer=n.Replace(Regex(r"\s+"), " "),
    model=models.BPE(unk_token="<unk>", fuse_unk=True, continuing_subword_prefix="##"), decoder=decoders.WordPiece("##", False), continuing_subword_prefix="##")

# Unigram (T5, XLM-R) with compiled rules: "ﬁ" to "fi", "Ω" (ohm) to "Ω" (omega), and U+200B to nothing.


def charsmap(rules):
    """SentencePiece's compiled form: a double-array trie (Darts) of UTF-8 strings and the replacements."""
    replacements, offsets = b"", {}
    for source, target in rules.items():
        offsets[source.encode()] = len(replacements)
        replacements += target.encode() + b"\0"
    root = {}
    for key, value in offsets.items():
        node = root
        for byte in key:
            node = node.setdefault(byte, {})
        node[0] = value
    units = {0: 0}
    used = {0}

    def place(node, index):
        # Children lie at index ^ offset ^ label; offsets stay below 2^21, so the plain form of a unit suffices.
        base = next(b for b in range(1, 1 << 20) if not any((index ^ b ^ label) in used for label in node) and not (index ^ b) == 0)
        used.update(index ^ base ^ label for label in node)
        units[index] = units.get(index, 0) | base << 10 | (0x100 if 0 in node else 0)
        for label, child in node.items():
            at = index ^ base ^ label
            if label == 0:
                units[at] = child | 1 << 31
            else:
                units[at] = label
                place(child, at)

    place(root, 0)
    size = (max(units) | 255) + 1
    trie = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(size))
    return struct.pack("<I", len(trie)) + trie + replacements


def unigram(name, normalizer, pre, decoder, post=None, byte_fallback=False):
    t = Tokenizer(models.Unigram())
    if normalizer:
        t.normalizer = normalizer
    t.pre_tokenizer = pre
    special = SPECIAL + ([f"<0x{b:02X}>" for b in range(256)] if byte_fallback else [])
    t.train_from_iterator([CORPUS], trainers.UnigramTrainer(vocab_size=len(special) + 280, unk_token="<unk>", special_tokens=special, show_progress=False))
    file = json.loads(t.to_str())
    file["model"]["byte_fallback"] = byte_fallback
    file["added_tokens"] = [token for token in file["added_tokens"] if token["id"] < 3]
    t = Tokenizer.from_str(json.dumps(file))
    t.decoder = decoder
    t.post_processor = post or processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    t.add_special_tokens([MASK])
    golden(name, t)


RULES = charsmap({"ﬁ": "fi", "Ω": "Ω", "\u200b": "", "\t": " ", "Ａ": "A", "Ⅳ": "IV"})
unigram("t5", n.Sequence([n.Precompiled(RULES), n.Strip(False, True), n.Replace(Regex(" {2,}"), "▁")]),
        p.Metaspace(prepend_scheme="always", split=True), decoders.Metaspace(prepend_scheme="always"))
unigram("unigram-bytes", n.NFKD(), p.Metaspace(prepend_scheme="always", split=False), decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]),
        byte_fallback=True)
unigram("xlm-r", n.Precompiled(RULES), p.Sequence([p.WhitespaceSplit(), p.Metaspace()]), decoders.Metaspace(),
        post=processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]))


# WordPiece: BERT cased and not.
def word_piece(name, normalizer, pre, post):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=60))
    t.normalizer, t.pre_tokenizer = normalizer, pre
    t.train_from_iterator([CORPUS, *STRINGS[:20]], trainers.WordPieceTrainer(vocab_size=420, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    t.decoder = decoders.WordPiece()
    t.post_processor = post
    golden(name, t)


word_piece("bert", n.BertNormalizer(), p.BertPreTokenizer(), processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)))
word_piece("bert-cased", n.BertNormalizer(lowercase=False, strip_accents=True), p.Sequence([p.Whitespace(), p.Punctuation("merged_with_previous")]),
           processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]))
word_piece("split", n.BertNormalizer(clean_text=False, handle_chinese_chars=False), p.Sequence([p.Split("-", "merged_with_next"), p.CharDelimiterSplit(" ")]),
           processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2)))

# The ids of a real file that is not stored here.
if len(sys.argv) > 1:
    t = Tokenizer.from_file(str(Path(sys.argv[1]) / "minilm.tokenizer.json"))
    t.no_padding()
    t.no_truncation()
    golden("minilm", t)
    del out["minilm"]["file"]

(HERE / "json_golden.json").write_text(json.dumps(out, ensure_ascii=True, separators=(",", ":")) + "\n")
