//! Errors on their way to JavaScript: an `Error` object with the properties `kind` and `node`.

use js_sys::Reflect;
use wasm_bindgen::JsValue;

use crate::error::{Error, ErrorKind};

impl From<Error> for JsValue {
    fn from(error: Error) -> Self {
        let object = js_sys::Error::new(error.message());
        let set = |name: &str, value: &str| {
            // Setting a property of a fresh, extensible object cannot fail.
            let _ = Reflect::set(&object, &name.into(), &value.into());
        };
        set("kind", error.kind().as_str());
        if let Some(node) = error.node() {
            set("node", node);
        }
        object.into()
    }
}

/// What a function of JavaScript threw.
pub(super) fn thrown(value: JsValue) -> Error {
    let text = |name: &str| Reflect::get(&value, &name.into()).ok().and_then(|found| found.as_string());
    let kind = match text("kind").as_deref() {
        Some("out-of-memory") => ErrorKind::OutOfMemory,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, text("message").unwrap_or_else(|| format!("{value:?}")))
}
