//! Matrix product with a weight, and what often follows it: `y = x · Wᵀ + bias`, then SwiGLU on the two
//! halves of the columns (`silu(gate) · up`, Shazeer 2020, arXiv:2002.05202), then `+ residual`.
//!
//! The weight is `[n, k]`, one row per output column, in any float or block format; quantisation is its
//! dtype, nothing else changes.

use super::{CpuContext, Input, OpDef, expect_dtype, required};
use crate::error::{Result, ensure, fail};
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `(x f32 [.., k], weight [n, k], bias f32 [n]?, residual f32 like y?) → y f32 [.., n]`, or `[.., n / 2]`
/// with SwiGLU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MatMul {
    /// Whether the first half of the columns gates the second.
    pub swiglu: bool,
}

impl OpDef for MatMul {
    fn infer(&self, inputs: &[Option<&TensorType>]) -> Result<Vec<TensorType>> {
        let (x, weight) = (required(inputs, 0)?, required(inputs, 1)?);
        expect_dtype(x, DType::F32, "the activations")?;
        ensure!(
            weight.shape.rank() == 2
                && weight.dtype.is_float()
                && x.shape.rank() > 0
                && x.shape.0.last() == weight.shape.0.last(),
            ShapeMismatch,
            "activations {x} do not go with a weight {weight}, which must be [n, k] of the same k"
        );
        let n = weight.shape.0[0].clone();
        if let Some(Some(bias)) = inputs.get(2) {
            expect_dtype(bias, DType::F32, "the bias")?;
            ensure!(
                bias.shape.0 == [n.clone()],
                ShapeMismatch,
                "a bias {bias} does not fit the {n} columns of the product"
            );
        }
        let mut shape = x.shape.0.clone();
        shape.pop();
        shape.push(if self.swiglu { n.over(2) } else { n });
        let y = TensorType::f32(Shape(shape));
        if let Some(Some(residual)) = inputs.get(3) {
            ensure!(
                **residual == y,
                ShapeMismatch,
                "a residual {residual} does not fit the product {y}"
            );
        }
        Ok(vec![y])
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let (m, _) = x.as_rows();
        let Input::Packed(weight) = &inputs[1] else {
            return fail!(Internal, "the weight of a matrix product was not repacked");
        };
        let bias = inputs.get(2).map_or(Ok(None), Input::optional)?;
        let bias = bias.map(|b| b.data::<f32>()).transpose()?;
        let x = x.data::<f32>()?;
        let (_, columns) = outputs[0].as_rows();
        let y = outputs[0].data::<f32>()?;
        if self.swiglu {
            let mut both = vec![0.0f32; m * weight.n()];
            weight.matmul(cx.threads, x, m, &mut both, bias, cx.exact);
            for (y, both) in y.chunks_exact_mut(columns.max(1)).zip(both.chunks_exact(weight.n().max(1))) {
                let (gate, up) = both.split_at(columns);
                for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
                    *y = crate::kernels::math::silu(*gate) * up;
                }
            }
        } else {
            weight.matmul(cx.threads, x, m, y, bias, cx.exact);
        }
        if let Some(residual) = inputs.get(3).map_or(Ok(None), Input::optional)? {
            y.iter_mut().zip(residual.data::<f32>()?).for_each(|(y, r)| *y += r);
        }
        Ok(())
    }

    fn packs(&self, index: usize) -> bool {
        index == 1
    }
}
