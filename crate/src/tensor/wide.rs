//! Elements of any dtype in the widest of its kind, for operators whose time does not matter: shapes,
//! indices, attributes given as tensors, and functions on dtypes that no fast path serves.

use super::small_float::{self, Narrowing};
use super::{TensorView, TensorViewMut};
use crate::error::{Result, fail};
use crate::types::DType;

/// All elements of a tensor, widened.
#[derive(Clone, Debug, PartialEq)]
pub enum Wide {
    /// Of a float dtype.
    Floats(Vec<f64>),
    /// Of an integer dtype, or of bool as 0 and 1.
    Ints(Vec<i128>),
}

macro_rules! widen {
    ($view:expr, $rust:ty, $to:ty) => {
        bytemuck::cast_slice::<u8, $rust>($view.bytes).iter().map(|&x| <$to>::from(x)).collect()
    };
}

macro_rules! narrow {
    ($view:expr, $values:expr, $rust:ty, $convert:expr) => {{
        let slots = bytemuck::cast_slice_mut::<u8, $rust>($view.bytes);
        slots.iter_mut().zip($values).for_each(|(slot, x)| *slot = $convert(x));
    }};
}

impl TensorView<'_> {
    /// The elements in the widest type of their kind. Fails on block formats, and on elements that are no numbers.
    pub fn widen(&self) -> Result<Wide> {
        Ok(match self.dtype {
            DType::F32 => Wide::Floats(widen!(self, f32, f64)),
            DType::F64 => Wide::Floats(widen!(self, f64, f64)),
            DType::F16 => Wide::Floats(widen!(self, half::f16, f64)),
            DType::BF16 => Wide::Floats(widen!(self, half::bf16, f64)),
            DType::I8 | DType::I4 | DType::I2 => Wide::Ints(widen!(self, i8, i128)),
            DType::I16 => Wide::Ints(widen!(self, i16, i128)),
            DType::I32 => Wide::Ints(widen!(self, i32, i128)),
            DType::I64 => Wide::Ints(widen!(self, i64, i128)),
            DType::U8 | DType::U4 | DType::U2 | DType::Bool => Wide::Ints(widen!(self, u8, i128)),
            DType::U16 => Wide::Ints(widen!(self, u16, i128)),
            DType::U32 => Wide::Ints(widen!(self, u32, i128)),
            DType::U64 => Wide::Ints(widen!(self, u64, i128)),
            dtype if dtype.is_small_float() => {
                Wide::Floats(self.bytes.iter().map(|&bits| small_float::decode(dtype, bits)).collect())
            }
            _ => return fail!(UnsupportedOp, "the elements of {} cannot be read one by one", self.dtype),
        })
    }

    /// The elements as f64. Fails on block formats.
    pub fn to_floats(&self) -> Result<Vec<f64>> {
        Ok(match self.widen()? {
            Wide::Floats(values) => values,
            Wide::Ints(values) => values.into_iter().map(|x| x as f64).collect(),
        })
    }

    /// The elements as i64. Fails unless the dtype is an integer one or bool.
    pub fn to_ints(&self) -> Result<Vec<i64>> {
        match self.widen()? {
            Wide::Ints(values) => Ok(values.into_iter().map(|x| x as i64).collect()),
            Wide::Floats(_) => fail!(ShapeMismatch, "integers are wanted, and {} came", self.dtype),
        }
    }
}

impl TensorViewMut<'_> {
    /// Stores the elements: floats rounded to nearest even, integers modulo their width; floats to integers
    /// towards zero, saturating. Bool is 1 for what is not 0. Fails on block formats, and on elements that are no
    /// numbers.
    pub fn narrow(&mut self, values: Wide) -> Result<()> {
        self.narrow_by(values, Narrowing::default())
    }

    /// The same, with small floats made as `narrowing` says.
    pub fn narrow_by(&mut self, values: Wide, narrowing: Narrowing) -> Result<()> {
        match values {
            Wide::Floats(values) => self.store_floats(values, narrowing),
            Wide::Ints(values) if self.dtype.is_float() => {
                self.store_floats(values.into_iter().map(|x| x as f64).collect(), narrowing)
            }
            Wide::Ints(values) => self.store_ints(values),
        }
    }

    fn store_floats(&mut self, values: Vec<f64>, narrowing: Narrowing) -> Result<()> {
        match self.dtype {
            DType::F32 => narrow!(self, values, f32, |x| x as f32),
            DType::F64 => narrow!(self, values, f64, |x: f64| x),
            DType::F16 => narrow!(self, values, half::f16, half::f16::from_f64),
            DType::BF16 => narrow!(self, values, half::bf16, half::bf16::from_f64),
            DType::Bool => narrow!(self, values, u8, |x| u8::from(x != 0.0)),
            DType::U64 => narrow!(self, values, u64, |x| x as u64),
            dtype if dtype.is_small_float() => {
                narrow!(self, values, u8, |x| small_float::encode(dtype, x, narrowing));
            }
            _ => return self.store_ints(values.into_iter().map(|x| x as i64 as i128).collect()),
        }
        Ok(())
    }

    fn store_ints(&mut self, values: Vec<i128>) -> Result<()> {
        match self.dtype {
            DType::I8 => narrow!(self, values, i8, |x| x as i8),
            DType::I16 => narrow!(self, values, i16, |x| x as i16),
            DType::I32 => narrow!(self, values, i32, |x| x as i32),
            DType::I64 => narrow!(self, values, i64, |x| x as i64),
            DType::U8 => narrow!(self, values, u8, |x| x as u8),
            DType::U16 => narrow!(self, values, u16, |x| x as u16),
            DType::U32 => narrow!(self, values, u32, |x| x as u32),
            DType::U64 => narrow!(self, values, u64, |x| x as u64),
            DType::Bool => narrow!(self, values, u8, |x| u8::from(x != 0)),
            DType::U4 => narrow!(self, values, u8, |x| x as u8 & 15),
            DType::U2 => narrow!(self, values, u8, |x| x as u8 & 3),
            DType::I4 => narrow!(self, values, i8, |x| (x as i8) << 4 >> 4),
            DType::I2 => narrow!(self, values, i8, |x| (x as i8) << 6 >> 6),
            _ => return fail!(UnsupportedOp, "{} cannot be written one by one", self.dtype),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn elements_survive_widening_and_wrap_when_narrowed() {
        let tensor = Tensor::new(&[3], &[u64::MAX, 0, 7]).unwrap();
        let wide = tensor.view().widen().unwrap();
        assert_eq!(wide, Wide::Ints(vec![i128::from(u64::MAX), 0, 7]));
        let mut small = Tensor::zeros(DType::I8, &[3]).unwrap();
        small.view_mut().narrow(wide).unwrap();
        assert_eq!(small.data::<i8>().unwrap(), [-1, 0, 7]);
        let mut halves = Tensor::zeros(DType::F16, &[2]).unwrap();
        halves.view_mut().narrow(Wide::Floats(vec![0.5, -3.0])).unwrap();
        assert_eq!(halves.view().to_floats().unwrap(), [0.5, -3.0]);
        assert!(halves.view().to_ints().is_err());
    }
}
