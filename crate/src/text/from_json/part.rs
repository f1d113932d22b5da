//! A part of the file: a JSON object with a name that errors can say.

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

/// An object of the file and what it is.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    what: &'static str,
    json: &'a Value,
}

impl<'a> Part<'a> {
    pub(super) fn new(what: &'static str, json: &'a Value) -> Self {
        Self { what, json }
    }

    /// Its `type`, or nothing.
    pub(super) fn kind(&self) -> &'a str {
        self.json["type"].as_str().unwrap_or("")
    }

    /// A field that is there and not null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    /// A part of this part, if it is there.
    pub(super) fn part(&self, key: &str, what: &'static str) -> Option<Part<'a>> {
        self.get(key).map(|json| Part { what, json })
    }

    /// The parts of a list; none where the field is missing.
    pub(super) fn parts(&self, key: &str, what: &'static str) -> Result<impl Iterator<Item = Part<'a>>> {
        let list = match self.get(key) {
            None => &[],
            Some(Value::Array(list)) => list.as_slice(),
            Some(_) => return Err(self.wrong(&format!("has a '{key}' that is no list"))),
        };
        Ok(list.iter().map(move |json| Part { what, json }))
    }

    pub(super) fn str(&self, key: &str) -> Result<&'a str> {
        self.optional_str(key)?.ok_or_else(|| self.wrong(&format!("has no '{key}'")))
    }

    pub(super) fn optional_str(&self, key: &str) -> Result<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(&format!("has a '{key}' that is no text"))),
        }
    }

    /// A field of one character.
    pub(super) fn character(&self, key: &str) -> Result<char> {
        let mut characters = self.str(key)?.chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Ok(character),
            _ => Err(self.wrong(&format!("has a '{key}' that is not one character"))),
        }
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(&format!("has a '{key}' that is neither true nor false"))),
        }
    }

    pub(super) fn count(&self, key: &str, default: usize) -> Result<usize> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => (value.as_u64().and_then(|n| usize::try_from(n).ok()))
                .ok_or_else(|| self.wrong(&format!("has a '{key}' that is no count"))),
        }
    }

    /// The id of a token.
    pub(super) fn id(&self, key: &str) -> Result<u32> {
        let id = self.get(key).and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| self.wrong(&format!("has no id '{key}'")))
    }

    /// The error of a part that is not as it should be.
    pub(super) fn wrong(&self, how: &str) -> Error {
        let kind = self.kind();
        let name = if kind.is_empty() { String::new() } else { format!(" '{kind}'") };
        Error::new(ErrorKind::Format, format!("the {}{name} of tokenizer.json {how}", self.what))
    }

    /// The error of a part of a kind that is not known.
    pub(super) fn unsupported(&self) -> Error {
        let message = format!(
            "the {} '{}' of tokenizer.json is not supported; report it with the model's name",
            self.what,
            self.kind()
        );
        Error::new(ErrorKind::UnsupportedFormat, message)
    }
}
