//! Matrix product with a weight, and what often follows it: `y = x · Wᵀ + bias`, then SwiGLU on the two
//! halves of the columns (`silu(gate) · up`, Shazeer 2020, arXiv:2002.05202), then `+ residual`, then an activation.
//!
//! The weight is `[n, k]`, one row per output column, in any float or block format; quantisation is its
//! dtype, nothing else changes.

use super::unary::UnaryFunction;
use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Packing, Types, expect_dtype};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, Operand, params, spread};
use crate::kernels::gemm::PackedMatrix;
use crate::kernels::gemm::tile::{Activation, Epilogue};
use crate::kernels::planes::Planes;
use crate::kernels::product_launch::ProductLaunch;
use crate::tensor::TensorViewMut;
use crate::types::{DType, Shape, TensorType};

/// `(x f32 [.., k], weight [n, k], bias f32 [n]?, residual f32 like y?) → y f32 [.., n]`, or `[.., n / 2]`
/// with SwiGLU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MatMul {
    /// Whether the first half of the columns gates the second.
    pub swiglu: bool,
    /// What the sums become.
    pub activation: Option<UnaryFunction>,
}

/// Rows of x from which on tiles in workgroup memory pay.
const TILED: usize = 8;

impl OpDef for MatMul {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let (x, weight) = (inputs.ty(0)?, inputs.ty(1)?);
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
        if let Some(bias) = inputs.optional(2) {
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
        if let Some(residual) = inputs.optional(3) {
            ensure!(*residual == y, ShapeMismatch, "a residual {residual} does not fit the product {y}");
        }
        Ok(vec![y])
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let x = inputs[0].tensor()?;
        let (m, _) = x.as_rows();
        let made;
        let weight = match &inputs[1] {
            Input::Packed(weight) => *weight,
            other => {
                made = PackedMatrix::of(other.tensor()?)?;
                &made
            }
        };
        let floats = |i: usize| {
            let input = inputs.get(i).map_or(Ok(None), Input::optional)?;
            input.map(|tensor| tensor.data::<f32>()).transpose()
        };
        let x = x.data::<f32>()?;
        let y = outputs[0].data::<f32>()?;
        let apply = self.activation.map(|activation| move |y: &mut [f32]| activation.apply_all(y));
        let activation = apply.as_ref().map(|apply| apply as Activation);
        let epilogue = Epilogue { column_bias: floats(2)?, residual: floats(3)?, activation, row_bias: None };
        if self.swiglu {
            weight.swiglu(cx.threads, x, m, y, &epilogue, cx.exact);
        } else {
            weight.matmul(cx.threads, x, m, y, &epilogue, cx.exact);
        }
        Ok(())
    }

    fn lower_gpu(&self, caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let [n_rows, k] = types.input(1)?[..] else { return Lowered::not_on_gpu("the weight is no matrix") };
        let Some(planes) = types.dtype(1).and_then(Planes::of) else {
            return Lowered::not_on_gpu("no kernel reads a weight of this type");
        };
        if let Some(why) = planes.too_large(n_rows * k, caps.max_binding_bytes) {
            return Lowered::not_on_gpu(why);
        }
        let y = types.output(0)?;
        let n = y.last().copied().unwrap_or(1);
        let m = y.iter().product::<usize>() / n.max(1);
        let has = |index: usize| types.has(index);
        let fits_tiles = m >= TILED || self.activation.is_some() || !k.is_multiple_of(4);
        let tiled = planes == Planes::Dense && !self.swiglu && fits_tiles;
        if let (true, Some(function)) = (tiled, UnaryFunction::code_of(self.activation)) {
            let (sizes, batch) = ([m, k, n], (&[][..], [&[][..], &[]]));
            let added = [has(2), has(3)];
            let launch =
                ProductLaunch { sizes, batch, transposed: [false, true], scale: 1.0, added, function };
            if let Some(dispatch) = launch.dispatch()? {
                return Lowered::one(dispatch);
            }
        }
        if self.activation.is_some() {
            return Lowered::not_on_gpu("no kernel applies the activation");
        }
        if !k.is_multiple_of(4) {
            return Lowered::not_on_gpu(format!("its rows of {k} values are no multiple of 4"));
        }
        let params = Params {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            row_chunks: k.div_ceil(4 * planes.values_per_word()) as u32,
            group: planes.group() as u32,
            offset: planes.offset(),
            has_bias: has(2).into(),
            has_residual: has(3).into(),
        };
        let mut bindings = planes.bindings(1);
        bindings.extend([(0, Operand::Input(0)), (6, Operand::Output(0))]);
        bindings
            .extend([(4, 2), (5, 3)].iter().filter(|(_, i)| has(*i)).map(|&(b, i)| (b, Operand::Input(i))));
        let [levels, mins] = planes.features();
        let (swiglu, rows4) = (if self.swiglu { "swiglu" } else { "" }, if m > 1 { "rows4" } else { "" });
        let (x, z) = spread(n.div_ceil(4));
        let groups = [x, m.div_ceil(if m > 1 { 4 } else { 1 }), z];
        Lowered::one(Dispatch::new(
            "matmul",
            &[levels, mins, swiglu, rows4],
            bindings,
            params.bytes(),
            groups,
        )?)
    }

    fn work(&self, types: &Types) -> u64 {
        let elements = |shape: Result<Vec<usize>>| shape.map_or(0, |shape| shape.iter().product::<usize>());
        let k = types.input(1).ok().and_then(|w| w.last().copied()).unwrap_or(1).max(1);
        (elements(types.input(0)) as u64 / k as u64).saturating_mul(elements(types.input(1)) as u64)
    }

    fn packs(&self, index: usize, shape: &[usize]) -> Option<Packing> {
        (index == 1 && shape.len() == 2).then_some(Packing::Matrix)
    }
}

params!("matmul": m: u32, n: u32, k: u32, row_chunks: u32, group: u32, offset: f32, has_bias: u32, has_residual: u32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::ops::case::{Array, Case, Given, Tolerance};

    fn reference_matmul(op: &MatMul, x: &[Option<Array>]) -> Array {
        let (a, w) = (x[0].as_ref().expect("activations"), x[1].as_ref().expect("a weight"));
        let n_rows = w.shape[0];
        let mut y = Vec::new();
        for row in a.rows() {
            let products: Vec<f64> = (w.rows().enumerate())
                .map(|(j, w)| {
                    let bias = x[2].as_ref().map_or(0.0, |bias| bias.values[j]);
                    row.iter().zip(w).map(|(a, w)| a * w).sum::<f64>() + bias
                })
                .collect();
            if op.swiglu {
                let (gate, up) = products.split_at(n_rows / 2);
                y.extend(gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u));
            } else {
                y.extend(products);
            }
        }
        if let Some(residual) = &x[3] {
            y.iter_mut().zip(&residual.values).for_each(|(y, r)| *y += r);
        }
        let mut shape = a.shape.clone();
        *shape.last_mut().expect("rows") = if op.swiglu { n_rows / 2 } else { n_rows };
        Array::new(&shape, y)
    }

    pub fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        let mut add = |dtype: DType, [m, n, k]: [usize; 3], swiglu: bool, bias: bool, residual: bool| {
            let columns = if swiglu { n / 2 } else { n };
            let optional = |yes: bool, given: Given| if yes { given } else { Given::Absent };
            let inputs = vec![
                Given::noise(&[m, k], 1),
                Given::weight(dtype, &[n, k], 2),
                optional(bias, Given::weight(DType::F32, &[n], 3)),
                optional(residual, Given::noise(&[m, columns], 4)),
            ];
            let name = format!("{dtype} {m}x{n}x{k}, swiglu {swiglu}, bias {bias}, residual {residual}");
            let op = MatMul { swiglu, activation: None };
            // Sums of k products, rounded in another order. Activations of 8 bits are off by up to 1/254 of a
            // block's largest; SwiGLU multiplies two such sums.
            let tolerance = Tolerance { exact: 2e-5, quantised: if swiglu { 0.06 } else { 0.02 } };
            cases.push(Case::new(name, op.clone(), inputs, tolerance, |x| vec![reference_matmul(&op, x)]));
        };
        for dtype in DType::FLOATS {
            for m in [1, 5] {
                add(dtype, [m, 13, 256], false, false, false);
                add(dtype, [m, 14, 512], true, true, m == 5);
                add(dtype, [m, 48, 256], true, m == 5, m == 1);
                add(dtype, [m, 9, 768], false, true, true);
            }
        }
        add(DType::F32, [1, 1, 32], false, true, false);
        add(DType::F32, [3, 9, 7], false, true, true);
        for (m, n, k) in [(1, 9, 32), (3, 8, 96), (17, 33, 64), (2, 300, 32)] {
            add(DType::F32, [m, n, k], false, false, true);
            add(DType::Block(crate::types::BlockFormat::Q4_1), [m, n, k], false, false, true);
            add(DType::Block(crate::types::BlockFormat::Q8_0), [m, n, k], false, true, false);
        }
        for (function, m) in [(UnaryFunction::Gelu { tanh: false }, 1), (UnaryFunction::Relu, 70)] {
            let op = MatMul { swiglu: false, activation: Some(function) };
            let weight = Given::weight(DType::F32, &[9, 40], 2);
            let inputs = vec![
                Given::noise(&[m, 40], 1),
                weight,
                Given::weight(DType::F32, &[9], 3),
                Given::noise(&[m, 9], 4),
            ];
            let name = format!("{function:?} of {m} rows");
            cases.push(Case::new(name, op, inputs, Tolerance::of(2e-5), |x| {
                let plain = MatMul { swiglu: false, activation: None };
                let mut y = reference_matmul(&plain, x);
                crate::ops::unary::parity::applied(function, &mut y);
                vec![y]
            }));
        }
        cases
    }
}
