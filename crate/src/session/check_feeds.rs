//! What a caller feeds, held against what the model's file declares, so that an error names the input, what came
//! and what was wanted, and lists the inputs.

use super::network::{Port, PortDim, PortKind};
use crate::error::{Error, ErrorKind, Result, fail};
use crate::formats::onnx::ElementType;
use crate::types::{DType, TensorType};
use std::fmt::Write;

/// Fails when a feed has no input of its name, comes twice, or is of another type or shape than its input. An input
/// that is missing is found when the plan is known to need it. Dimensions of one name that differ are only given back,
/// as the error of a run that fails: exporters give one name to dimensions that need not agree.
pub(super) fn check(ports: &[Port], feeds: &[(&str, TensorType)]) -> Result<Option<Error>> {
    let mut clash = None;
    let mut sizes: Vec<(&str, usize, &str)> = Vec::new();
    for (i, (name, ty)) in feeds.iter().enumerate() {
        if feeds[..i].iter().any(|(other, _)| other == name) {
            return fail!(InvalidInput, "the input '{name}' was given twice");
        }
        let Some(port) = ports.iter().find(|port| port.name == *name) else {
            return fail!(InvalidInput, "the model has no input '{name}'. {}", listed(ports));
        };
        let shape = ty.known_shape()?;
        let refused = |why: String| {
            let (came, wanted) = (named(ty.dtype), declared(port));
            let message =
                format!("the input '{name}' came as {came} {shape:?} and is wanted as {wanted}: {why}.");
            Error::new(ErrorKind::ShapeMismatch, format!("{message} {}", listed(ports)))
        };
        if let Some(why) = mismatch(port, (ty.dtype, &shape)) {
            return Err(refused(why));
        }
        if let Some(why) = disagreement(port, &shape, &mut sizes) {
            clash.get_or_insert(refused(why));
        }
    }
    Ok(clash)
}

/// The error for an input that was not given.
pub(super) fn missing(port: &Port, ports: &[Port]) -> Error {
    let message = format!("the input '{}' was not given. {}", port.name, listed(ports));
    Error::new(ErrorKind::InvalidInput, message)
}

/// Why a tensor does not fit an input.
fn mismatch(port: &Port, (dtype, shape): (DType, &[usize])) -> Option<String> {
    if port.dtype.is_some_and(|wanted| wanted != dtype) {
        return Some("its type is another".into());
    }
    let dims = port.shape.as_ref()?;
    if dims.len() != shape.len() {
        return Some(format!("it has {} dimensions, not {}", shape.len(), dims.len()));
    }
    dims.iter().zip(shape).enumerate().find_map(|(i, (dim, size))| match dim {
        PortDim::Known(n) if n != size => Some(format!("its dimension {i} is {size}, not {n}")),
        _ => None,
    })
}

/// Which dimension of a name is not what it was. `sizes` has what they were so far, and of which input.
fn disagreement<'a>(
    port: &'a Port,
    shape: &[usize],
    sizes: &mut Vec<(&'a str, usize, &'a str)>,
) -> Option<String> {
    port.shape.as_ref()?.iter().zip(shape).find_map(|(dim, &size)| {
        let PortDim::Named(name) = dim else { return None };
        match sizes.iter().find(|(known, ..)| known == name) {
            Some((_, n, of)) => (*n != size).then(|| format!("{name} is {size} here and {n} in '{of}'")),
            None => {
                sizes.push((name, size, &port.name));
                None
            }
        }
    })
}

/// A dtype as ONNX and JavaScript call it.
fn named(dtype: DType) -> String {
    ElementType::of(dtype).map_or_else(|| dtype.to_string(), |ty| ty.name().to_string())
}

/// An input's type and dimensions, as `float32 [n, 3, ?]`.
fn declared(port: &Port) -> String {
    let kind = match port.kind {
        PortKind::Tensor => "any type",
        PortKind::Sequence => "a sequence",
        PortKind::Optional => "a value or none",
        PortKind::Map => "a map",
    };
    let mut text = port.dtype.map_or(kind.into(), named);
    if let Some(shape) = &port.shape {
        let dims = shape.iter().map(|dim| match dim {
            PortDim::Known(n) => n.to_string(),
            PortDim::Named(name) => name.clone(),
            PortDim::Unknown => "?".into(),
        });
        // Writing to a String cannot fail.
        let _ = write!(text, " [{}]", dims.collect::<Vec<_>>().join(", "));
    }
    text
}

/// All inputs in one sentence.
fn listed(ports: &[Port]) -> String {
    let each = ports.iter().map(|port| format!("'{}' ({})", port.name, declared(port)));
    match ports.len() {
        0 => "It has no inputs".into(),
        1 => format!("Its only input is {}", each.collect::<String>()),
        _ => format!("Its inputs are {}", each.collect::<Vec<_>>().join(", ")),
    }
}
