//! A tensor, wherever its elements lie: outputs may stay on the device between runs.

use crate::error::Result;
use crate::tensor::Tensor;
use crate::types::TensorType;
use std::any::Any;
use std::pin::Pin;
use std::rc::Rc;

/// Elements that lie on a device. They never change, and are freed with the last of those who hold them.
pub trait Resident {
    /// Their type; every dimension is known.
    fn ty(&self) -> &TensorType;

    /// The same elements in another shape, as many.
    fn reshaped(&self, shape: &[usize]) -> Result<Rc<dyn Resident>>;

    /// A copy of them here.
    fn read(&self) -> Pin<Box<dyn Future<Output = Result<Tensor>>>>;

    /// For the back end whose they are.
    fn as_any(&self) -> &dyn Any;
}

/// A tensor here, or on the device.
#[derive(Clone)]
pub enum Held {
    /// Its elements are here.
    Here(Tensor),
    /// They are on the device.
    There(Rc<dyn Resident>),
}

impl Held {
    /// Its type.
    pub fn ty(&self) -> TensorType {
        match self {
            Self::Here(tensor) => tensor.ty(),
            Self::There(resident) => resident.ty().clone(),
        }
    }

    /// The same elements in another shape. Fails when it wants another number.
    pub fn reshaped(self, shape: &[usize]) -> Result<Self> {
        Ok(match self {
            Self::Here(tensor) => Self::Here(tensor.reshaped(shape)?),
            Self::There(resident) => Self::There(resident.reshaped(shape)?),
        })
    }

    /// Its elements, brought here where they are not.
    pub async fn read(self) -> Result<Tensor> {
        match self {
            Self::Here(tensor) => Ok(tensor),
            Self::There(resident) => resident.read().await,
        }
    }
}

impl From<Tensor> for Held {
    fn from(tensor: Tensor) -> Self {
        Self::Here(tensor)
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Here(tensor) => tensor.fmt(f),
            Self::There(resident) => write!(f, "{} on the device", resident.ty()),
        }
    }
}
