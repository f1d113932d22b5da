//! From tokens back to text: what each token says, worked out once for the whole vocabulary, and a
//! [`Detokenizer`] that turns the bytes of a stream of tokens into text without ever giving out half a character.

use std::borrow::Cow;

/// One step from tokens to text.
#[derive(Clone, Debug, PartialEq)]
pub enum DecodeStep {
    /// Tokens are bytes in GPT-2's byte alphabet.
    ByteLevel,
    /// Tokens `<0xNN>` are bytes.
    ByteFallback,
    /// All tokens become one string, which is what happens here anyway.
    Fuse,
    /// In every token, one string becomes another.
    Replace {
        /// What to find.
        from: Box<str>,
        /// What to write.
        to: Box<str>,
    },
    /// The text loses up to so many of these characters at its beginning.
    Strip {
        /// The character.
        content: char,
        /// How many at most.
        start: usize,
    },
    /// A space before every token but the first and those that begin with the prefix, which vanishes.
    WordPiece {
        /// `##`.
        prefix: Box<str>,
        /// Takes away the spaces before punctuation and English contractions.
        cleanup: bool,
    },
    /// This end of a token, `</w>`, is a space.
    WordSuffix(Box<str>),
}

/// What WordPiece decoding tidies, in order.
const CLEANUP: [(&str, &str); 11] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

/// The byte that a token `<0xNN>` stands for.
pub(super) fn byte_token(token: &[u8]) -> Option<u8> {
    let digits = token.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    if digits.len() != 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// What a token says behind other tokens.
pub(super) fn spoken<'a>(token: &'a str, steps: &[DecodeStep]) -> Cow<'a, [u8]> {
    let mut text = Cow::Borrowed(token);
    for step in steps {
        match step {
            DecodeStep::ByteFallback => {
                if let Some(byte) = byte_token(text.as_bytes()) {
                    return Cow::Owned(vec![byte]);
                }
            }
            DecodeStep::Replace { from, to } if text.contains(&**from) => {
                text = text.replace(&**from, to).into();
            }
            DecodeStep::WordPiece { prefix, cleanup } => {
                text = match text.strip_prefix(&**prefix) {
                    Some(rest) => rest.to_string().into(),
                    None => format!(" {text}").into(),
                };
                if *cleanup {
                    for (from, to) in CLEANUP {
                        if text.contains(from) {
                            text = text.replace(from, to).into();
                        }
                    }
                }
            }
            DecodeStep::WordSuffix(suffix) => {
                if let Some(rest) = text.strip_suffix(&**suffix) {
                    text = format!("{rest} ").into();
                }
            }
            _ => {}
        }
    }
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// The text without the characters that its beginning loses, and without the space of its last word's suffix.
pub(super) fn strip_ends<'a>(text: &'a str, steps: &[DecodeStep]) -> &'a str {
    let (content, most) = steps
        .iter()
        .find_map(|step| match step {
            DecodeStep::Strip { content, start } => Some((*content, *start)),
            DecodeStep::WordPiece { .. } => Some((' ', 1)),
            _ => None,
        })
        .unwrap_or((' ', 0));
    let length = text.chars().take(most).take_while(|&c| c == content).map(char::len_utf8).sum();
    let ends_in_suffix = steps.iter().any(|step| matches!(step, DecodeStep::WordSuffix(_)));
    let text = &text[length..];
    text.strip_suffix(' ').filter(|_| ends_in_suffix).unwrap_or(text)
}

/// Holds back the bytes of a character until it is whole.
#[derive(Clone, Debug, Default)]
pub struct Detokenizer {
    pending: Vec<u8>,
}

impl Detokenizer {
    /// The text that the bytes of the next token complete. Bytes that can be no part of UTF-8 become U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(rest) => {
                    text.push_str(rest);
                    self.pending.clear();
                    return text;
                }
                Err(error) => {
                    let valid = error.valid_up_to();
                    text.push_str(&String::from_utf8_lossy(&self.pending[..valid]));
                    self.pending.drain(..valid);
                    // What no further byte can complete is wrong for good.
                    let Some(wrong) = error.error_len() else { return text };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.pending.drain(..wrong);
                }
            }
        }
    }

    /// Ends the text: a character that never became whole is U+FFFD.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_come_whole_however_they_are_cut() {
        let text = "aé漢🔥 z";
        for cut in 1..5 {
            let mut detokenizer = Detokenizer::default();
            let mut out = String::new();
            for piece in text.as_bytes().chunks(cut) {
                out.push_str(&detokenizer.push(piece));
                assert!(text.starts_with(&out));
            }
            assert_eq!(out + &detokenizer.finish(), text);
        }
        let mut detokenizer = Detokenizer::default();
        assert_eq!(detokenizer.push(b"a\xffb\xe6"), "a\u{fffd}b");
        assert_eq!(detokenizer.finish(), "\u{fffd}");
    }

    #[test]
    fn tokens_say_what_their_steps_make_of_them() {
        let space = DecodeStep::Replace { from: "▁".into(), to: " ".into() };
        let steps = [space, DecodeStep::ByteFallback, DecodeStep::Strip { content: ' ', start: 1 }];
        assert_eq!(&*spoken("▁the▁", &steps), b" the ");
        assert_eq!(&*spoken("<0xE6>", &steps), [0xe6]);
        assert_eq!(&*spoken("<0xE>", &steps), b"<0xE>");
        assert_eq!(strip_ends("  a", &steps), " a");
        let steps = [DecodeStep::WordPiece { prefix: "##".into(), cleanup: true }];
        assert_eq!(&*spoken("##ing", &steps), b"ing");
        assert_eq!(&*spoken("go", &steps), b" go");
        assert_eq!(&*spoken(".", &steps), b".");
        assert_eq!(strip_ends(" go", &steps), "go");
    }
}
