//! A tokenizer of a model file: its vocabulary, its special tokens, and the way between text and ids.

#![forbid(unsafe_code)]

use super::bpe::{self, Merges};
use super::pre_tokenize::PreTokenizer;
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::formats::gguf::{Gguf, Value};
use std::collections::HashMap;

/// GGUF's token types that are never made by merges.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// Names that end a turn in one of the families, besides the file's own end-of-sequence token.
const END_OF_TURN: &[&str] = &["<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "<|end|>"];

/// A token that is found in text whole, before anything else.
#[derive(Clone, Debug)]
struct Special {
    id: u32,
    text: Box<[u8]>,
    /// Whether it is a token of the template's, parsed only where the caller trusts the text.
    control: bool,
}

/// A byte-level BPE tokenizer.
pub struct Tokenizer {
    pre: PreTokenizer,
    /// The bytes of each token.
    tokens: Vec<Box<[u8]>>,
    /// The token of each single byte.
    bytes: [u32; 256],
    merges: Merges,
    specials: Vec<Special>,
    end_ids: Vec<u32>,
    bos: Option<u32>,
    eos: Option<u32>,
    add_bos: bool,
}

impl Tokenizer {
    /// The tokenizer that a GGUF file's metadata describe. Fails, naming the key, when it is missing,
    /// contradictory, or of a kind that is not supported.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        let kind = gguf.str("tokenizer.ggml.model").unwrap_or("");
        ensure!(
            kind == "gpt2",
            UnsupportedFormat,
            "tokenizers of the kind '{kind}' are not supported yet, only byte-level BPE ('gpt2')"
        );
        let missing =
            |key: &str| Error::new(ErrorKind::Format, format!("the metadata key '{key}' is missing"));
        let names = gguf.strings("tokenizer.ggml.tokens").ok_or_else(|| missing("tokenizer.ggml.tokens"))?;
        let merges = gguf.strings("tokenizer.ggml.merges").ok_or_else(|| missing("tokenizer.ggml.merges"))?;
        let kinds: Vec<u64> = match gguf.metadata.get("tokenizer.ggml.token_type") {
            Some(Value::Unsigneds(kinds)) => kinds.clone(),
            Some(Value::Signeds(kinds)) => kinds.iter().map(|&k| k as u64).collect(),
            _ => Vec::new(),
        };
        let kind_of = |id: usize| kinds.get(id).copied().unwrap_or(1);
        let to_byte = byte_of_char();
        let mut tokens: Vec<Box<[u8]>> = Vec::with_capacity(names.len());
        let mut specials = Vec::new();
        for (id, name) in names.iter().enumerate() {
            let kind = kind_of(id);
            let is_special = matches!(kind, CONTROL | USER_DEFINED);
            let mapped: Option<Vec<u8>> = name.chars().map(|c| to_byte.get(&c).copied()).collect();
            let bytes = match mapped {
                Some(bytes) if !is_special => bytes,
                _ => name.bytes().collect(),
            };
            if is_special && !name.is_empty() {
                let text = bytes.clone().into_boxed_slice();
                specials.push(Special { id: id as u32, text, control: kind == CONTROL });
            }
            tokens.push(bytes.into_boxed_slice());
        }
        // The longest first, so that it wins where several begin alike.
        specials.sort_by_key(|special| std::cmp::Reverse(special.text.len()));
        let ids: HashMap<&[u8], u32> = (tokens.iter().enumerate())
            .filter(|(id, _)| !matches!(kind_of(*id), CONTROL | USER_DEFINED))
            .map(|(id, bytes)| (&**bytes, id as u32))
            .collect();
        let mut bytes = [0; 256];
        for (byte, id) in bytes.iter_mut().enumerate() {
            match ids.get(&[byte as u8][..]) {
                Some(found) => *id = *found,
                // Bytes that no UTF-8 text has need no token.
                None if matches!(byte, 0xc0 | 0xc1 | 0xf5..=0xff) => {}
                None => *id = u32::MAX,
            }
        }
        let merges = read_merges(names, merges)?;
        let id_key = |key: &str| {
            gguf.uint(&format!("tokenizer.ggml.{key}")).filter(|&id| id < tokens.len()).map(|id| id as u32)
        };
        let (bos, eos) = (id_key("bos_token_id"), id_key("eos_token_id"));
        let mut end_ids: Vec<u32> = eos.into_iter().chain(id_key("eot_token_id")).collect();
        let named = specials.iter().filter(|s| END_OF_TURN.iter().any(|name| name.as_bytes() == &*s.text));
        end_ids.extend(named.map(|s| s.id));
        Ok(Self {
            pre: PreTokenizer::named(gguf.str("tokenizer.ggml.pre").unwrap_or("default"))?,
            bytes,
            merges,
            specials,
            end_ids,
            bos,
            eos,
            add_bos: gguf.bool("tokenizer.ggml.add_bos_token").unwrap_or(false),
            tokens,
        })
    }

    /// How many tokens there are.
    pub fn vocabulary_size(&self) -> usize {
        self.tokens.len()
    }

    /// The ids of `text`. With `special`, tokens of the template's that stand in it count as such.
    pub fn encode(&self, text: &str, special: bool) -> Vec<u32> {
        let mut out = Vec::new();
        let mut start = 0;
        let mut at = 0;
        let bytes = text.as_bytes();
        while at < bytes.len() {
            let found =
                (self.specials.iter()).find(|s| (special || !s.control) && bytes[at..].starts_with(&s.text));
            match found {
                Some(special) => {
                    self.encode_plain(&text[start..at], &mut out);
                    out.push(special.id);
                    at += special.text.len();
                    start = at;
                }
                None => at += 1,
            }
        }
        self.encode_plain(&text[start..], &mut out);
        out
    }

    fn encode_plain(&self, text: &str, out: &mut Vec<u32>) {
        self.pre.split(text, |piece| {
            let ids: Vec<u32> = piece.bytes().map(|byte| self.bytes[usize::from(byte)]).collect();
            let from = out.len();
            bpe::merge(&ids, &self.merges, out);
            // A byte that the vocabulary lacks has no id; the model never saw it.
            if out[from..].contains(&u32::MAX) {
                let kept: Vec<u32> = out.drain(from..).filter(|id| *id != u32::MAX).collect();
                out.extend(kept);
            }
        });
    }

    /// The bytes of a token; none for an id outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.tokens.get(id as usize).map_or(&[], |bytes| bytes)
    }

    /// The text of `ids`; bytes that are not UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.token_bytes(id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the token ends an answer.
    pub fn ends_text(&self, id: u32) -> bool {
        self.end_ids.contains(&id)
    }

    /// The token that begins a text, where the model wants one before every prompt.
    pub fn leading_token(&self) -> Option<u32> {
        self.bos.filter(|_| self.add_bos)
    }

    /// The text of the tokens that begin and end a text, as chat templates use them.
    pub fn bos_and_eos(&self) -> (Option<String>, Option<String>) {
        let text = |id: Option<u32>| id.map(|id| self.decode(&[id]));
        (text(self.bos), text(self.eos))
    }
}

/// GPT-2's way of writing bytes as characters: printable ones as themselves, the others from U+0100 on.
fn byte_of_char() -> HashMap<char, u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut next = 0x100;
    (0..=255u8)
        .map(|byte| {
            if printable(byte) {
                return (char::from(byte), byte);
            }
            next += 1;
            (char::from_u32(next - 1).unwrap_or_default(), byte)
        })
        .collect()
}

fn read_merges(names: &[Box<str>], merges: &[Box<str>]) -> Result<Merges> {
    let ids: HashMap<&str, u32> = names.iter().enumerate().map(|(id, name)| (&**name, id as u32)).collect();
    let mut out = Merges::with_capacity(merges.len());
    let mut joined = String::new();
    for (rank, merge) in merges.iter().enumerate() {
        let Some((left, right)) = merge.split_once(' ') else {
            return fail!(Format, "the tokenizer's merge {rank}, '{merge}', is not two tokens");
        };
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        match (ids.get(left), ids.get(right), ids.get(joined.as_str())) {
            (Some(&left), Some(&right), Some(&merged)) => {
                out.entry((left, right)).or_insert((rank as u32, merged));
            }
            _ => {
                return fail!(Format, "the tokenizer's merge {rank}, '{merge}', names a token that it lacks");
            }
        }
    }
    Ok(out)
}
