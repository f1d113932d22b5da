//! Stop strings in streamed text. A stop string may lie across pieces, so text that could be the beginning
//! of one is held back until it is clear that it is not. The text that comes out is the same however the
//! input is cut into pieces.

use crate::error::{Result, ensure};

/// Watches a stream of text for stop strings.
#[derive(Clone, Debug, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
}

/// What [`StopStrings::push`] lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Text that is certainly before any stop string.
    pub text: String,
    /// Whether a stop string is complete; the text ends just before it.
    pub stopped: bool,
}

impl StopStrings {
    /// Watches for `stops`, none of which may be empty.
    pub fn new(stops: Vec<String>) -> Result<Self> {
        ensure!(
            stops.iter().all(|s| !s.is_empty()),
            InvalidInput,
            "a stop string is empty, which would stop at once; leave it out"
        );
        Ok(Self { stops, held: String::new() })
    }

    /// Takes the next piece of text and gives what may be shown.
    pub fn push(&mut self, text: &str) -> Stopped {
        self.held.push_str(text);
        // The stop string that is complete first wins; of those that end together, the longest.
        let found = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()).map(|at| (at + stop.len(), at)))
            .min();
        let (end, stopped) = match found {
            Some((_, start)) => (start, true),
            None => (self.held.len() - self.held_len(), false),
        };
        let rest = self.held.split_off(end);
        let text = std::mem::replace(&mut self.held, if stopped { String::new() } else { rest });
        Stopped { text, stopped }
    }

    /// The text held back, when no more will come.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes at the end of the held text that may begin a stop string.
    fn held_len(&self) -> usize {
        let prefix = |stop: &String| {
            let starts = stop.char_indices().map(|(at, _)| at).skip(1);
            starts.filter(|&n| self.held.ends_with(&stop[..n])).max().unwrap_or(0)
        };
        self.stops.iter().map(prefix).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text let through, and whether a stop string came, for a cutting of the text into pieces.
    fn stream(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut stop = StopStrings::new(stops.iter().map(|s| s.to_string()).collect()).unwrap();
        let mut out = String::new();
        for piece in pieces {
            let step = stop.push(piece);
            out += &step.text;
            if step.stopped {
                return (out, true);
            }
        }
        out += &stop.finish();
        (out, false)
    }

    #[test]
    fn a_stop_string_across_pieces_is_cut_off() {
        assert_eq!(stream(&["###"], &["a#", "#", "#b"]), ("a".into(), true));
        assert_eq!(stream(&["###"], &["a#", "#", "b"]), ("a##b".into(), false));
        assert_eq!(stream(&["###"], &["a##"]), ("a##".into(), false));
        assert_eq!(stream(&["aab"], &["aa", "ab"]), ("a".into(), true));
    }

    #[test]
    fn only_what_may_begin_a_stop_string_is_held_back() {
        let mut stop = StopStrings::new(vec!["\nUser:".into()]).unwrap();
        assert_eq!(stop.push("Hello\nU").text, "Hello");
        assert_eq!(stop.push("se").text, "");
        assert_eq!(stop.push("!").text, "\nUse!");
    }

    #[test]
    fn the_text_does_not_depend_on_the_pieces() {
        let texts = ["xabcdy", "xabxabcdé", "ééabcé", "bcbcd", "aabbccdd", "xé", "noend ab"];
        let stops: [&[&str]; 4] =
            [&["abcd", "bc"], &["abc", "bc", "c"], &["éa", "é"], &["cd", "abx", "end ab!"]];
        for text in texts {
            for stops in stops {
                let chars: Vec<String> = text.chars().map(String::from).collect();
                let single: Vec<&str> = chars.iter().map(String::as_str).collect();
                let want = stream(stops, &single);
                assert_eq!(stream(stops, &[text]), want, "{text} {stops:?}");
                for (at, _) in text.char_indices() {
                    let (a, b) = text.split_at(at);
                    assert_eq!(stream(stops, &[a, b]), want, "{a}|{b} {stops:?}");
                }
            }
        }
    }

    #[test]
    fn an_empty_stop_string_is_refused() {
        assert!(StopStrings::new(vec!["a".into(), String::new()]).is_err());
    }
}
