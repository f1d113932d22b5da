//! Evaluation on the CPU, also of dtypes that a kernel has no code for: where it knows f32 alone among floats, others are
//! widened for it, and its results narrowed.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, Op, Types, values};
use crate::error::Result;
use crate::kernels::threads::Threads;
use crate::tensor::{Tensor, TensorView, TensorViewMut, Wide};
use crate::types::DType;

impl Op {
    /// Computes a node on the CPU, now, from inputs that are all known. Fails as inference and evaluation do.
    pub fn eval_now(&self, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>> {
        if self.def().needs_all_values() {
            return values::eval(self, inputs, &[]);
        }
        let types: Vec<_> = inputs.iter().map(|tensor| tensor.map(Tensor::ty)).collect();
        let types: Vec<_> = types.iter().map(Option::as_ref).collect();
        let known = Known::with_values(&types, inputs);
        if let Some(outputs) = self.def().outputs_of_types(&known)? {
            return Ok(outputs);
        }
        let outputs = self.def().infer(&known)?;
        if !types.iter().flatten().copied().chain(&outputs).all(|ty| ty.dtype.has_bytes()) {
            return values::eval(self, inputs, &outputs);
        }
        let mut outputs = (outputs.iter())
            .map(|ty| Tensor::zeros(ty.dtype, &ty.known_shape()?))
            .collect::<Result<Vec<_>>>()?;
        let inputs: Vec<_> =
            inputs.iter().map(|tensor| tensor.map_or(Input::Absent, |t| Input::Tensor(t.view()))).collect();
        let mut views: Vec<_> = outputs.iter_mut().map(Tensor::view_mut).collect();
        self.eval(&CpuContext { threads: Threads::single(), exact: true }, &inputs, &mut views)?;
        Ok(outputs)
    }

    /// Computes the outputs on the CPU: see [`OpDef::eval_cpu`](super::OpDef::eval_cpu).
    pub fn eval(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let def = self.def();
        let is_other = |dtype| is_other(dtype) && def.computes_in_f32(dtype);
        let of_inputs =
            inputs.iter().any(|input| matches!(input, Input::Tensor(view) if is_other(view.dtype)));
        if !of_inputs && !outputs.iter().any(|output| is_other(output.dtype)) {
            return def.eval_cpu(cx, inputs, outputs);
        }
        let widened = inputs.iter().map(|input| match input {
            Input::Tensor(view) if is_other(view.dtype) => widen(*view).map(Some),
            _ => Ok(None),
        });
        let widened = widened.collect::<Result<Vec<_>>>()?;
        let both = inputs.iter().zip(&widened);
        let inputs: Vec<_> =
            both.map(|(input, wide)| wide.as_ref().map_or(*input, |t| Input::Tensor(t.view()))).collect();
        let wide = outputs.iter().map(|output| match is_other(output.dtype) {
            // Its data may be an input's, worked on in place.
            true => widen(output.as_view()).map(Some),
            false => Ok(None),
        });
        let mut wide = wide.collect::<Result<Vec<_>>>()?;
        let slots = outputs.iter_mut().zip(&mut wide);
        let mut views: Vec<_> = slots
            .map(|(output, wide)| match wide {
                Some(tensor) => tensor.view_mut(),
                None => TensorViewMut { dtype: output.dtype, shape: output.shape, bytes: &mut *output.bytes },
            })
            .collect();
        def.eval_cpu(cx, &inputs, &mut views)?;
        drop(views);
        for (output, wide) in outputs.iter_mut().zip(wide) {
            if let Some(tensor) = wide {
                output.narrow(Wide::Floats(tensor.view().to_floats()?))?;
            }
        }
        Ok(())
    }

    /// The launches that compute the outputs on the GPU: see [`OpDef::lower_gpu`](super::OpDef::lower_gpu).
    pub fn lower(&self, caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let mut all = types.inputs.iter().flatten().chain(types.outputs);
        if all.any(|ty| is_other(ty.dtype) && self.def().computes_in_f32(ty.dtype)) {
            return Lowered::not_on_gpu("this operator has no GPU kernel for floats that are not f32");
        }
        self.def().lower_gpu(caps, types)
    }
}

fn is_other(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16 | DType::F64)
}

fn widen(view: TensorView) -> Result<Tensor> {
    let mut tensor = Tensor::zeros(DType::F32, view.shape)?;
    tensor.view_mut().narrow(Wide::Floats(view.to_floats()?))?;
    Ok(tensor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::layer_norm::LayerNorm;

    #[test]
    fn floats_of_other_dtypes_are_those_of_f32_rounded() {
        let x: Vec<f32> = (0..12).map(|i| (i * 7 % 5) as f32 - 1.5).collect();
        let op = Op::from(LayerNorm { axis: -1, centre: true, epsilon: 1e-3, outputs: 1 });
        let of = |dtype: DType| {
            let cast = |shape: &[usize], values: &[f32]| {
                let mut tensor = Tensor::zeros(dtype, shape).unwrap();
                tensor
                    .view_mut()
                    .narrow(Wide::Floats(values.iter().map(|x| f64::from(*x)).collect()))
                    .unwrap();
                tensor
            };
            let (x, scale) = (cast(&[3, 4], &x), cast(&[4], &[1.0, 2.0, 0.5, -1.0]));
            let y = op.eval_now(&[Some(&x), Some(&scale)]).unwrap().swap_remove(0);
            assert_eq!(y.dtype(), dtype);
            y.view().to_floats().unwrap()
        };
        let want = of(DType::F32);
        for (dtype, step) in [(DType::F64, 1e-7), (DType::F16, 1e-3), (DType::BF16, 8e-3)] {
            assert!(
                of(dtype).iter().zip(&want).all(|(y, want)| (y - want).abs() <= step * want.abs()),
                "{dtype}"
            );
        }
    }
}
