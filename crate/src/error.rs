//! The one error type. Every failure carries a closed [`ErrorKind`] that JavaScript sees as a string,
//! a message that says what happened, where, with which shapes, and what to do next, and, when one is
//! to blame, the name of the node or tensor.

use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, as a closed list that JavaScript shares as a string union.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The bytes could not be had from the source that the caller named.
    Fetch,
    /// The bytes are not a well-formed file of their format.
    Format,
    /// The file is well formed, and its format, version, architecture or tensor type is not supported.
    UnsupportedFormat,
    /// The graph has an operator, or a use of one, that is not supported.
    UnsupportedOp,
    /// The graph contradicts itself.
    InvalidGraph,
    /// Two shapes or types that must agree do not.
    ShapeMismatch,
    /// An argument of the caller's is out of its range.
    InvalidInput,
    /// The prompt, or the prompt and its answer, do not fit the context.
    ContextFull,
    /// The memory, on the CPU or the GPU, does not suffice.
    OutOfMemory,
    /// WebGPU was asked for and is not there, or gives wrong answers.
    NoWebgpu,
    /// The GPU device was lost.
    DeviceLost,
    /// The caller cancelled the work.
    Cancelled,
    /// A fault of this package: please report it.
    Internal,
}

impl ErrorKind {
    /// The name that JavaScript sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Format => "format",
            Self::UnsupportedFormat => "unsupported-format",
            Self::UnsupportedOp => "unsupported-op",
            Self::InvalidGraph => "invalid-graph",
            Self::ShapeMismatch => "shape-mismatch",
            Self::InvalidInput => "invalid-input",
            Self::ContextFull => "context-full",
            Self::OutOfMemory => "out-of-memory",
            Self::NoWebgpu => "no-webgpu",
            Self::DeviceLost => "device-lost",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

/// An error: its kind, a message for people, and the node or tensor it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    node: Option<String>,
}

impl Error {
    /// An error of `kind`. The message says what happened, where, and the next step to take.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), node: None }
    }

    /// The same error, blamed on a node or tensor; a name that is already there stays.
    pub fn at(mut self, node: impl Into<String>) -> Self {
        self.node.get_or_insert_with(|| node.into());
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened and what to do, without the name of the node.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The node or tensor that the error concerns.
    pub fn node(&self) -> Option<&str> {
        self.node.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{}: {} (in '{node}')", self.kind.as_str(), self.message),
            None => write!(f, "{}: {}", self.kind.as_str(), self.message),
        }
    }
}

impl std::error::Error for Error {}

/// `Err(Error)` of a kind, with a formatted message: `fail!(Format, "offset {at}: …")`.
macro_rules! fail {
    ($kind:ident, $($message:tt)+) => {
        Err($crate::error::Error::new($crate::error::ErrorKind::$kind, format!($($message)+)))
    };
}

/// Returns `fail!(kind, …)` unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $kind:ident, $($message:tt)+) => {
        if !$condition {
            return $crate::error::fail!($kind, $($message)+);
        }
    };
}

pub(crate) use {ensure, fail};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_node_name_stays() {
        let error = Error::new(ErrorKind::Format, "bad").at("inner").at("outer");
        assert_eq!(error.node(), Some("inner"));
        assert_eq!(error.to_string(), "format: bad (in 'inner')");
    }
}
