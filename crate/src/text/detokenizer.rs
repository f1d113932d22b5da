//! Tokens to text as they come, never half a character.

#![forbid(unsafe_code)]

/// Holds back the bytes of a character until it is whole.
#[derive(Clone, Debug, Default)]
pub struct Detokenizer {
    pending: Vec<u8>,
}

impl Detokenizer {
    /// The text that `bytes` complete. Bytes that can be no part of UTF-8 become U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(valid) => {
                    text.push_str(valid);
                    self.pending.clear();
                    return text;
                }
                Err(error) => {
                    let (valid, rest) = self.pending.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    let Some(bad) = error.error_len() else {
                        self.pending = rest.to_vec();
                        return text;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    self.pending = rest[bad..].to_vec();
                }
            }
        }
    }

    /// What is left at the end: a character that never became whole is U+FFFD.
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
}
