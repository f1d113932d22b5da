//! Elements in another dtype. ONNX Cast and CastLike.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types, values};
use crate::error::{Error, ErrorKind, Result};
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::kernels::halves;
use crate::tensor::{Narrowing, Tensor, TensorViewMut, Wide};
use crate::types::{DType, TensorType};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::sync::Arc;

/// `(x, like?) → y` of the same shape. Floats become integers towards zero; integers wrap. Texts are read as numbers,
/// and numbers written as texts, with as many digits as tell them from their neighbours.
#[derive(Clone, Debug, PartialEq)]
pub struct Cast {
    /// The dtype wanted; that of the second input where it is left out.
    pub to: Option<DType>,
    /// How floats of at most a byte are made.
    pub narrowing: Narrowing,
}

impl Cast {
    /// To that dtype.
    pub fn to(dtype: DType) -> Self {
        Self { to: Some(dtype), narrowing: Narrowing::default() }
    }

    /// To the dtype of the second input.
    pub fn like() -> Self {
        Self { to: None, narrowing: Narrowing::default() }
    }
}

impl OpDef for Cast {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let dtype = match self.to {
            Some(dtype) => dtype,
            None => inputs.dtype(1)?,
        };
        Ok(vec![TensorType { dtype, shape: inputs.ty(0)?.shape.clone() }])
    }

    fn eval_cpu(&self, _cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        match (x.dtype, y.dtype) {
            (from, to) if from == to => y.bytes.copy_from_slice(x.bytes),
            (DType::I64, DType::F32) => {
                y.data::<f32>()?.iter_mut().zip(x.data::<i64>()?).for_each(|(y, x)| *y = *x as f32);
            }
            (DType::I64, DType::I32) => {
                y.data::<i32>()?.iter_mut().zip(x.data::<i64>()?).for_each(|(y, x)| *y = *x as i32);
            }
            (DType::I32, DType::F32) => {
                y.data::<f32>()?.iter_mut().zip(x.data::<i32>()?).for_each(|(y, x)| *y = *x as f32);
            }
            (DType::U8 | DType::Bool, DType::F32) => {
                y.data::<f32>()?.iter_mut().zip(x.bytes).for_each(|(y, x)| *y = f32::from(*x));
            }
            (DType::F16, DType::F32) => {
                bytemuck::cast_slice::<u8, f16>(x.bytes).convert_to_f32_slice(y.data()?);
            }
            (DType::F32, DType::F16) => {
                halves::narrow(x.data()?, bytemuck::cast_slice_mut(y.bytes));
            }
            (DType::I32, DType::I64) => {
                y.data::<i64>()?.iter_mut().zip(x.data::<i32>()?).for_each(|(y, x)| *y = i64::from(*x));
            }
            _ => y.narrow_by(x.widen()?, self.narrowing)?,
        }
        Ok(())
    }

    fn eval_values(&self, inputs: &[Option<&Tensor>]) -> Result<Option<Vec<Tensor>>> {
        let x = values::required(inputs, 0)?;
        let to = self.to.or(values::optional(inputs, 1).map(Tensor::dtype)).unwrap_or(x.dtype());
        let y = match (x.dtype(), to) {
            (from, to) if from == to => x.clone(),
            (_, DType::Text) => Tensor::of_texts(x.shape(), written(x)?)?,
            _ => {
                let mut y = Tensor::zeros(to, x.shape())?;
                y.view_mut().narrow_by(read(x.texts()?, to)?, self.narrowing)?;
                y
            }
        };
        Ok(Some(vec![y]))
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let (dtype, to) = (types.dtype(0), types.outputs[0].dtype);
        let from: &[&str] = match dtype {
            Some(DType::F32) => &["from_float"],
            Some(DType::I32) => &["from_int"],
            Some(DType::I64) => &["from_wide"],
            Some(DType::Bool) => &["from_truth"],
            Some(DType::U8) => &["from_byte"],
            Some(DType::I8) => &["from_byte", "is_signed"],
            _ => &[],
        };
        let into = match to {
            DType::F32 => "to_float",
            DType::I32 => "to_int",
            DType::I64 => "to_wide",
            DType::Bool if !matches!(dtype, Some(DType::U8 | DType::I8)) => "to_truth",
            _ => "",
        };
        if from.is_empty() || into.is_empty() || dtype == Some(to) {
            return Lowered::not_on_gpu("no kernel casts between these dtypes");
        }
        let n = types.n_out()?;
        let threads = if to == DType::Bool { n.div_ceil(4) } else { n };
        let (bindings, params) = (vec![(0, Input(0)), (1, Output(0))], Params { n: n as u32 }.bytes());
        Lowered::one(Dispatch::of_each("cast", &[from, &[into]].concat(), bindings, params, threads)?)
    }
}

fn written(x: &Tensor) -> Result<Vec<Arc<str>>> {
    let float = |x: f64| match (x.is_nan(), x.is_infinite()) {
        (true, _) => "NaN".into(),
        (_, true) => if x > 0.0 { "INF" } else { "-INF" }.into(),
        _ if x == x.trunc() && x.abs() >= 1e16 => format!("{x:e}").into(),
        // The digits that an f32 needs are fewer; those of narrower floats are these, since each is an f32.
        _ if x == f64::from(x as f32) && x.abs() < 1e16 => (x as f32).to_string().into(),
        _ => x.to_string().into(),
    };
    Ok(match x.view().widen()? {
        Wide::Floats(values) => values.into_iter().map(float).collect(),
        Wide::Ints(values) => values.into_iter().map(|x| x.to_string().into()).collect(),
    })
}

fn read(texts: &[Arc<str>], to: DType) -> Result<Wide> {
    let float = |text: &Arc<str>| {
        let number = match &*text.trim().to_ascii_lowercase() {
            "true" => Ok(1.0),
            "false" => Ok(0.0),
            number => number.parse::<f64>(),
        };
        let wrong =
            |_| Error::new(ErrorKind::InvalidInput, format!("the text '{text}' is no number for {to}"));
        number.map_err(wrong)
    };
    if to.is_float() {
        return Ok(Wide::Floats(texts.iter().map(float).collect::<Result<_>>()?));
    }
    let int = |text: &Arc<str>| text.trim().parse::<i128>().or_else(|_| float(text).map(|x| x as i128));
    Ok(Wide::Ints(texts.iter().map(int).collect::<Result<_>>()?))
}

params!("cast": n: u32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |to: DType, tolerance: f64| {
            Case::new(
                format!("f32 to {to}"),
                Cast::to(to),
                vec![Given::noise(&[40], 1)],
                Tolerance::of(tolerance),
                |x| {
                    let x = x[0].as_ref().expect("an input");
                    let whole = matches!(to, DType::I32);
                    let y = x.values.iter().map(|x| if whole { x.trunc() } else { *x });
                    vec![Array::new(&x.shape, y.collect())]
                },
            )
        };
        // What every dtype holds, and what some hold: all are whole.
        let whole = |from: Given, to: DType| {
            let name = format!("{:?} to {to}", from.dtype());
            Case::new(name, Cast::to(to), vec![from], Tolerance::of(0.0), move |x| {
                let x = x[0].as_ref().expect("an input");
                let of = |x: &f64| if to == DType::Bool { f64::from(u8::from(*x != 0.0)) } else { *x };
                vec![Array::new(&x.shape, x.values.iter().map(of).collect())]
            })
        };
        let ints = [3i32, 0, -1, i32::MAX - 127, i32::MIN, 1 << 24, -77];
        let far =
            [(1i64 << 40) + (1 << 20), -(1 << 40) - (1 << 32), 1 << 32, -(1 << 32), 0, -5, 4_294_967_040];
        let floats: Vec<f32> = far.iter().map(|x| *x as f32).collect();
        let truths = |bytes: &[u8]| {
            let mut tensor = Tensor::zeros(DType::Bool, &[bytes.len()]).expect("a small tensor");
            tensor.view_mut().bytes.copy_from_slice(bytes);
            Given::Fed(tensor)
        };
        let givens = [
            Given::fed(&[7], &ints),
            Given::fed(&[7], &ints.map(i64::from)),
            Given::fed(&[7], &ints.map(|x| x as f32)),
            truths(&[1, 0, 1, 1, 0, 0, 1]),
            Given::fed(&[6], &[0u8, 255, 7, 128, 127, 1]),
            Given::fed(&[6], &[0i8, -1, 7, -128, 127, 1]),
        ];
        let mut cases = vec![case(DType::I32, 0.0), case(DType::F16, 1e-3), case(DType::F32, 0.0)];
        for to in [DType::F32, DType::I32, DType::I64, DType::Bool] {
            cases.extend(givens.iter().map(|given| whole(given.clone(), to)));
        }
        cases.push(whole(Given::fed(&[7], &far), DType::F32));
        cases.push(whole(Given::fed(&[7], &floats), DType::I64));
        cases
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Op;

    fn cast(x: &Tensor, to: DType) -> Result<Tensor> {
        Op::from(Cast::to(to)).eval_now(&[Some(x)]).map(|mut y| y.swap_remove(0))
    }

    #[test]
    fn texts_are_read_and_written_as_numbers() {
        let texts = |all: &[&str]| {
            Tensor::of_texts(&[all.len()], all.iter().map(|t| Arc::from(*t)).collect()).unwrap()
        };
        let floats = [0.1f32, 1.0, -2.5e-7, f32::INFINITY, f32::NAN];
        let written = cast(&Tensor::new(&[5], &floats).unwrap(), DType::Text).unwrap();
        assert!(written == texts(&["0.1", "1", "-0.00000025", "INF", "NaN"]), "{:?}", written.texts());
        let back = cast(&written, DType::F32).unwrap();
        assert_eq!(back.data::<f32>().unwrap()[..4], floats[..4]);
        let ints = cast(&texts(&["12", " -3", "1e3", "-INF"]), DType::I32).unwrap();
        assert_eq!(ints.data::<i32>().unwrap()[..3], [12, -3, 1000]);
        assert!(cast(&texts(&["Hello"]), DType::F32).unwrap_err().message().contains("'Hello'"));
        let halves = cast(&Tensor::new(&[1], &[half::f16::from_f32(0.1)]).unwrap(), DType::Text).unwrap();
        assert_eq!(&*halves.texts().unwrap()[0], "0.099975586");
    }
}
