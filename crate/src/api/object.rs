//! Plain JavaScript objects, field by field. serde-wasm-bindgen would add 20 KB to the download for this.

use js_sys::{Array, Reflect};
use wasm_bindgen::JsValue;

/// A plain object in the making.
pub(super) struct Object(js_sys::Object);

impl Object {
    /// An object without fields.
    pub(super) fn new() -> Self {
        Self(js_sys::Object::new())
    }

    /// With one more field.
    pub(super) fn with(self, name: &str, value: impl Into<JsValue>) -> Self {
        // Setting a field of a plain object cannot fail.
        let _ = Reflect::set(&self.0, &name.into(), &value.into());
        self
    }

    /// With one more number, which must be below 2^53 to be exact.
    pub(super) fn count(self, name: &str, value: u64) -> Self {
        self.with(name, value as f64)
    }

    /// With one more field where there is a value.
    pub(super) fn maybe(self, name: &str, value: Option<impl Into<JsValue>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

impl From<Object> for JsValue {
    fn from(object: Object) -> Self {
        object.0.into()
    }
}

/// An array of what the items become.
pub(super) fn array(items: impl IntoIterator<Item = JsValue>) -> JsValue {
    items.into_iter().collect::<Array>().into()
}
