//! Tensors of an ONNX file: initialisers, attributes, stored test data. Specified in `TensorProto` of
//! <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.

use super::wire::{Message, Value};
use crate::error::{Error, ErrorKind, Result, ensure, fail};
use crate::tensor::{self, Wide};
use crate::types::DType;

/// A tensor as the file has it.
#[derive(Clone, Debug, Default)]
pub struct Tensor<'a> {
    /// Its name, perhaps empty.
    pub name: &'a str,
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// The number of its element type in `TensorProto.DataType`.
    pub data_type: i64,
    raw: Option<&'a [u8]>,
    floats: Vec<f32>,
    /// `int32_data`, `int64_data` and `uint64_data`, of which a tensor has one.
    ints: Vec<i64>,
    doubles: Vec<f64>,
    external: bool,
}

/// The dtype of a number of `TensorProto.DataType`. Fails, naming it, when no operator takes it.
pub fn dtype_of(data_type: i64) -> Result<DType> {
    Ok(match data_type {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        16 => DType::BF16,
        _ => {
            let names = [
                "undefined",
                "",
                "",
                "",
                "",
                "",
                "",
                "",
                "string",
                "",
                "",
                "",
                "",
                "",
                "complex64",
                "complex128",
            ];
            let name = names.get(data_type as usize).filter(|name| !name.is_empty()).copied();
            let small = [
                "float8e4m3fn",
                "float8e4m3fnuz",
                "float8e5m2",
                "float8e5m2fnuz",
                "uint4",
                "int4",
                "float4e2m1",
            ];
            let name = name.or(small.get((data_type - 17) as usize).copied()).unwrap_or("unknown");
            return fail!(
                UnsupportedFormat,
                "the ONNX element type {name} (number {data_type}) is not supported"
            );
        }
    })
}

impl<'a> Tensor<'a> {
    pub(super) fn parse(message: Message<'a>) -> Result<Self> {
        let mut tensor = Self::default();
        let mut dims = Vec::new();
        message.each(|field, value| {
            match field {
                1 => value.ints(&mut dims)?,
                2 => tensor.data_type = value.int()?,
                4 => value.floats(&mut tensor.floats)?,
                5 | 7 | 11 => value.ints(&mut tensor.ints)?,
                8 => tensor.name = value.text()?,
                9 => tensor.raw = Some(value.message()?.bytes()),
                10 => value.doubles(&mut tensor.doubles)?,
                14 => tensor.external = matches!(value, Value::Varint(1)),
                _ => {}
            }
            Ok(())
        })?;
        let dims = dims.into_iter().map(usize::try_from).collect::<std::result::Result<_, _>>();
        tensor.dims = dims.map_err(|_| {
            Error::new(ErrorKind::Format, "a tensor of the ONNX file has a negative dimension")
                .at(tensor.name)
        })?;
        Ok(tensor)
    }

    /// The elements. Fails, naming the tensor, when their number is not the shape's or the type is not supported.
    pub fn decode(&self) -> Result<tensor::Tensor> {
        self.decode_unnamed().map_err(|e| e.at(self.name))
    }

    fn decode_unnamed(&self) -> Result<tensor::Tensor> {
        let dtype = dtype_of(self.data_type)?;
        ensure!(
            !self.external,
            UnsupportedFormat,
            "the elements are in another file: save the model with its data inside"
        );
        let n = self.dims.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim));
        let halves = matches!(dtype, DType::F16 | DType::BF16);
        let has = match self.raw {
            Some(raw) => raw.len() / dtype.block_bytes(),
            None => self.floats.len().max(self.ints.len()).max(self.doubles.len()),
        };
        ensure!(n == Some(has), Format, "the shape {:?} and {has} elements do not go together", self.dims);
        let mut tensor = tensor::Tensor::zeros(dtype, &self.dims)?;
        let mut view = tensor.view_mut();
        match self.raw {
            Some(raw) => match raw.len() == view.bytes.len() {
                true => view.bytes.copy_from_slice(raw),
                false => return fail!(Format, "{} bytes are no whole number of {dtype}", raw.len()),
            },
            None if halves => {
                let bits = bytemuck::cast_slice_mut::<u8, u16>(view.bytes);
                bits.iter_mut().zip(&self.ints).for_each(|(bits, x)| *bits = *x as u16);
            }
            None if !self.floats.is_empty() => {
                view.narrow(Wide::Floats(self.floats.iter().copied().map(f64::from).collect()))?;
            }
            None if !self.doubles.is_empty() => view.narrow(Wide::Floats(self.doubles.clone()))?,
            None => {
                let unsigned = dtype == DType::U64;
                let wide = |x: &i64| if unsigned { i128::from(*x as u64) } else { i128::from(*x) };
                view.narrow(Wide::Ints(self.ints.iter().map(wide).collect()))?;
            }
        }
        Ok(tensor)
    }
}
