//! Stop strings in streamed text: what may be the beginning of one is held back until it is known.

#![forbid(unsafe_code)]

/// Watches a stream of text for stop strings.
#[derive(Clone, Debug)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
}

impl StopStrings {
    /// A watcher for `stops`; empty strings never stop.
    pub fn new(stops: Vec<String>) -> Self {
        Self { stops: stops.into_iter().filter(|s| !s.is_empty()).collect(), held: String::new() }
    }

    /// Takes the next text. Returns what may be shown, and whether a stop string was met, of which nothing is
    /// shown.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let begins = |at: usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[at..]));
        let keep = self.held.char_indices().map(|(at, _)| at).find(|&at| begins(at));
        let rest = self.held.split_off(keep.unwrap_or(self.held.len()));
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What was held back, at the end.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_are_found_however_the_text_is_cut() {
        let text = "one two THE END three";
        for cut in 1..8 {
            let mut stop = StopStrings::new(vec!["THE END".into(), "zzz".into()]);
            let mut shown = String::new();
            let mut stopped = false;
            for piece in text.as_bytes().chunks(cut) {
                let (out, met) = stop.push(std::str::from_utf8(piece).unwrap());
                shown.push_str(&out);
                stopped = met;
                if met {
                    break;
                }
            }
            assert_eq!((shown.as_str(), stopped), ("one two ", true));
        }
    }

    #[test]
    fn a_false_beginning_is_shown_in_the_end() {
        let mut stop = StopStrings::new(vec!["abc".into()]);
        assert_eq!(stop.push("xab"), ("x".into(), false));
        assert_eq!(stop.push("d"), ("abd".into(), false));
        assert_eq!(stop.push("é ab"), ("é ".into(), false));
        assert_eq!(stop.finish(), "ab");
    }
}
