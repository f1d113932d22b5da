//! The headers of a model's files, from their first bytes: of one or several GGUF files, or of safetensors files
//! with the JSON files beside them.

use crate::error::{Error, Result, ensure, fail};
use crate::formats::TensorInfo;
use crate::formats::gguf::{Gguf, Parsed};
use crate::formats::hf_config::{HfConfig, looks_like_json};
use crate::formats::safetensors::{Safetensors, looks_like_safetensors};

/// What the headers describe together.
pub(super) enum Description {
    /// A language model, with its metadata.
    Gguf(Gguf),
    /// A model whose configuration is in JSON files; and its tensors.
    Hf(HfConfig, Vec<TensorInfo>),
}

/// How far the header of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderState {
    /// It goes on.
    More,
    /// It is whole, and tensors follow.
    Whole,
    /// It is whole, and the file has nothing else.
    All,
}

enum Header {
    Gguf(Gguf),
    Safetensors(Safetensors),
    Json,
}

/// Headers on their way.
#[derive(Default)]
pub(super) struct Headers {
    whole: Vec<Header>,
    config: HfConfig,
    /// The first bytes of the file whose header is not whole.
    bytes: Vec<u8>,
    /// Their number from which on parsing is tried again.
    retry_at: usize,
}

impl Headers {
    /// How many are whole.
    pub fn len(&self) -> usize {
        self.whole.len()
    }

    /// The bytes of the header that is not whole yet.
    pub fn open_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Takes more first bytes of the next file, which is `file_len` long where that is known.
    pub fn push(&mut self, bytes: &[u8], file_len: Option<u64>) -> Result<HeaderState> {
        self.bytes.extend_from_slice(bytes);
        let ended = file_len.is_some_and(|len| self.bytes.len() as u64 >= len);
        if !ended && self.bytes.len() < self.retry_at.max(16) {
            return Ok(HeaderState::More);
        }
        self.retry_at = self.bytes.len() * 3 / 2;
        let header = self.parse(file_len, ended).map_err(|e| in_file(e, self.whole.len()))?;
        let Some(header) = header else { return Ok(HeaderState::More) };
        self.retry_at = 0;
        let state = if matches!(header, Header::Json) { HeaderState::All } else { HeaderState::Whole };
        self.whole.push(header);
        Ok(state)
    }

    fn parse(&mut self, file_len: Option<u64>, ended: bool) -> Result<Option<Header>> {
        if looks_like_json(&self.bytes) {
            if ended {
                self.config.add(self.bytes.clone())?;
            }
            return Ok(ended.then_some(Header::Json));
        }
        if looks_like_safetensors(&self.bytes) {
            return Ok(Safetensors::parse(&self.bytes, file_len)?.map(Header::Safetensors));
        }
        Ok(match Gguf::parse(&self.bytes, file_len)? {
            Parsed::NeedMore => None,
            Parsed::Complete(gguf) => Some(Header::Gguf(*gguf)),
        })
    }

    /// The bytes of the header that has just become whole, which reach beyond it.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// What they describe, and the bytes of each.
    ///
    /// # Errors
    /// `InvalidInput`, with what is missing, when they are not those of one model.
    pub fn join(self) -> Result<(Description, Vec<u64>)> {
        let bytes = |header: &Header| match header {
            Header::Gguf(gguf) => gguf.data_start,
            Header::Safetensors(file) => file.data_start,
            Header::Json => 0,
        };
        let header_bytes = self.whole.iter().map(bytes).collect();
        let is_gguf = |header: &Header| matches!(header, Header::Gguf(_));
        if self.whole.iter().any(is_gguf) {
            ensure!(
                self.whole.iter().all(is_gguf),
                InvalidInput,
                "a GGUF file needs no other files than its shards: give those alone"
            );
            let gguf = self.whole.into_iter().filter_map(|header| match header {
                Header::Gguf(gguf) => Some(gguf),
                _ => None,
            });
            return Ok((Description::Gguf(Gguf::join(gguf.collect())?), header_bytes));
        }
        let mut tensors: Vec<TensorInfo> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for (file, header) in self.whole.into_iter().enumerate() {
            let Header::Safetensors(header) = header else { continue };
            for tensor in header.tensors {
                if !seen.insert(tensor.name.clone()) {
                    let message = "two files have the tensor: one of them is of another model";
                    return Err(Error::new(crate::error::ErrorKind::Format, message).at(&*tensor.name));
                }
                tensors.push(TensorInfo { file, ..tensor });
            }
        }
        let missing = match () {
            () if tensors.is_empty() => "the weights, model.safetensors, are",
            () if !self.config.has_model() => "config.json is",
            () if !self.config.has_tokenizer() => "tokenizer.json is",
            () => return Ok((Description::Hf(self.config, tensors), header_bytes)),
        };
        fail!(
            InvalidInput,
            "{missing} missing: load a list of config.json, tokenizer.json and model.safetensors, and with them \
             modules.json, 1_Pooling/config.json and sentence_bert_config.json where the model has these"
        )
    }
}

/// The same error, with the file that it was met in, from the second on.
pub(super) fn in_file(error: Error, file: usize) -> Error {
    if file == 0 {
        return error;
    }
    let named = Error::new(error.kind(), format!("in file {}: {}", file + 1, error.message()));
    match error.node() {
        Some(node) => named.at(node),
        None => named,
    }
}
