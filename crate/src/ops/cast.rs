//! Elements in another dtype. ONNX Cast and CastLike.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::Result;
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::tensor::TensorViewMut;
use crate::types::{DType, TensorType};

/// `(x, like?) → y` of the same shape. Floats become integers towards zero; integers wrap.
#[derive(Clone, Debug, PartialEq)]
pub struct Cast {
    /// The dtype wanted; that of the second input where it is left out.
    pub to: Option<DType>,
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
            (DType::I32, DType::I64) => {
                y.data::<i64>()?.iter_mut().zip(x.data::<i32>()?).for_each(|(y, x)| *y = i64::from(*x));
            }
            _ => y.narrow(x.widen()?)?,
        }
        Ok(())
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let name = |dtype: Option<DType>, names: [&'static str; 3]| match dtype {
            Some(DType::F32) => Some(names[0]),
            Some(DType::I32) => Some(names[1]),
            Some(DType::Bool) => Some(names[2]),
            _ => None,
        };
        let (dtype, to) = (types.dtype(0), types.outputs[0].dtype);
        let from_name = name(dtype, ["from_float", "from_int", "from_truth"]);
        let to_name = name(Some(to), ["to_float", "to_int", "to_truth"]);
        let (Some(from), Some(into), true) = (from_name, to_name, dtype != Some(to)) else {
            return Lowered::not_on_gpu("no kernel casts between these dtypes");
        };
        let n = types.n_out()?;
        let threads = if to == DType::Bool { n.div_ceil(4) } else { n };
        let (bindings, params) = (vec![(0, Input(0)), (1, Output(0))], Params { n: n as u32 }.bytes());
        Lowered::one(Dispatch::of_each("cast", &[from, into], bindings, params, threads)?)
    }
}

params!("cast": n: u32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    pub fn cases() -> Vec<Case> {
        let case = |to: DType, tolerance: f64| {
            Case::new(format!("f32 to {to}"), Cast { to: Some(to) }, vec![Given::noise(&[40], 1)], Tolerance::of(tolerance), |x| {
                let x = x[0].as_ref().expect("an input");
                let whole = matches!(to, DType::I32);
                let y = x.values.iter().map(|x| if whole { x.trunc() } else { *x });
                vec![Array::new(&x.shape, y.collect())]
            })
        };
        vec![case(DType::I32, 0.0), case(DType::F16, 1e-3), case(DType::F32, 0.0)]
    }
}
