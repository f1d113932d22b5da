//! A tensor with other sizes, its elements interpolated. ONNX Resize and Upsample.

use super::{CpuContext, GpuCaps, Input, Known, Lowered, OpDef, Types};
use crate::error::{Result, ensure};
use crate::kernels::dispatch::{Dispatch, Operand::*, params};
use crate::kernels::resize::{self, Axis, Coordinates, Method};
use crate::tensor::{TensorView, TensorViewMut, Wide};
use crate::types::{DType, Shape, TensorType};
use std::borrow::Cow;

/// `(x, roi [2r]?, scales f32 [r]?, sizes i64 [r]?) → y` of any dtype; of scales and sizes there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// How weights are chosen.
    pub method: Method,
    /// Where coordinates lie.
    pub coordinates: Coordinates,
    /// The dimensions that scales, sizes and regions are of; all where they are left out.
    pub axes: Option<Vec<i64>>,
    /// What sizes mean.
    pub policy: SizePolicy,
    /// Whether inputs beyond the edge have no weight.
    pub exclude_outside: bool,
    /// Whether a smaller image is made of all of a larger one.
    pub antialias: bool,
    /// The value of what lies outside a region.
    pub outside: f32,
}

/// What sizes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizePolicy {
    /// The sizes.
    Stretch,
    /// What the image must fit in, its proportions kept.
    NotLarger,
    /// What the image must fill, its proportions kept.
    NotSmaller,
}

impl Resize {
    /// How each dimension is resized.
    fn axes(&self, x: &[usize], roi: &[f64], scales: &[f64], sizes: &[i64]) -> Result<Vec<Axis>> {
        let axes = match &self.axes {
            Some(axes) => super::axes_of(axes, x.len())?,
            None => (0..x.len()).collect(),
        };
        let n = axes.len();
        ensure!(
            (scales.len() == n) != (sizes.len() == n) && scales.len() + sizes.len() == n,
            ShapeMismatch,
            "scales {scales:?} and sizes {sizes:?} for {n} dimensions"
        );
        let keep = Axis {
            input: 0,
            output: 0,
            scale: 1.0,
            coordinates: Coordinates::Asymmetric,
            crop: (0.0, 1.0),
            exclude_outside: self.exclude_outside,
            antialias: self.antialias,
        };
        let mut all: Vec<Axis> = x.iter().map(|&n| Axis { input: n, output: n, ..keep }).collect();
        let ratios = axes.iter().zip(sizes).map(|(&axis, &size)| size as f64 / x[axis] as f64);
        let common = match self.policy {
            SizePolicy::Stretch => None,
            SizePolicy::NotLarger => Some(ratios.fold(f64::INFINITY, f64::min)),
            SizePolicy::NotSmaller => Some(ratios.fold(0.0, f64::max)),
        };
        for (i, &axis) in axes.iter().enumerate() {
            let size = x[axis] as f64;
            let crop = match (roi.get(i), roi.get(i + n)) {
                (Some(start), Some(end)) => (*start as f32, *end as f32),
                _ => (0.0, 1.0),
            };
            let (output, scale) = match (scales.get(i), sizes.get(i), common.filter(|_| !sizes.is_empty())) {
                (Some(&scale), _, _) => {
                    let cropped = self.coordinates == Coordinates::TfCropAndResize;
                    let share = if cropped { f64::from(crop.1 - crop.0) } else { 1.0 };
                    ((size * share * scale).floor(), scale)
                }
                (_, _, Some(common)) => ((size * common).round(), common),
                (_, Some(&target), _) => (target as f64, target as f64 / size),
                _ => (size, 1.0),
            };
            let fits = (0.0..1e9).contains(&output) && (output == 0.0 || size > 0.0);
            ensure!(fits, ShapeMismatch, "dimension {axis} of {x:?} cannot become {output}");
            all[axis].output = output as usize;
            all[axis].scale = scale as f32;
            all[axis].coordinates = self.coordinates;
            all[axis].crop = crop;
        }
        Ok(all)
    }
}

impl OpDef for Resize {
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>> {
        let floats = |i: usize| inputs.value(i)?.as_ref().map_or(Ok(Vec::new()), TensorView::to_floats);
        let sizes = inputs.ints(3)?.unwrap_or_default();
        let axes = self.axes(&inputs.shape(0)?, &floats(1)?, &floats(2)?, &sizes)?;
        let shape: Vec<usize> = axes.iter().map(|axis| axis.output).collect();
        Ok(vec![TensorType::new(inputs.dtype(0)?, Shape::known(&shape))])
    }

    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()> {
        let (x, y) = (inputs[0].tensor()?, &mut outputs[0]);
        let optional = |i: usize| inputs.get(i).map_or(Ok(None), Input::optional);
        let floats = |i: usize| optional(i)?.as_ref().map_or(Ok(Vec::new()), TensorView::to_floats);
        let sizes = optional(3)?.as_ref().map_or(Ok(Vec::new()), TensorView::to_ints)?;
        let axes = self.axes(x.shape, &floats(1)?, &floats(2)?, &sizes)?;
        let mut values: Cow<[f32]> = match x.dtype {
            DType::F32 => x.data::<f32>()?.into(),
            _ => x.to_floats()?.into_iter().map(|x| x as f32).collect(),
        };
        let mut shape = x.shape.to_vec();
        let moving: Vec<usize> = (0..axes.len()).filter(|&i| axes[i].moves() && axes[i].input > 0).collect();
        for &i in moving.iter().rev() {
            let (before, inner) = (shape[i], shape[i + 1..].iter().product::<usize>());
            shape[i] = axes[i].output;
            let taps = axes[i].taps(self.method);
            if i == moving[0] && y.dtype == DType::F32 {
                let y = y.data::<f32>()?;
                resize::along(cx.threads, &values, (before, inner), &taps, self.outside, y);
                return Ok(());
            }
            let mut resized = vec![0.0; shape.iter().product()];
            resize::along(cx.threads, &values, (before, inner), &taps, self.outside, &mut resized);
            values = resized.into();
        }
        match y.dtype {
            DType::F32 => y.data::<f32>()?.copy_from_slice(&values),
            _ => y.narrow(Wide::Floats(values.iter().copied().map(f64::from).collect()))?,
        }
        Ok(())
    }

    fn needs_values(&self) -> &'static [usize] {
        &[1, 2, 3]
    }

    fn lower_gpu(&self, _caps: &GpuCaps, types: &Types) -> Result<Lowered> {
        let x = types.input(0)?;
        let axes =
            self.axes(&x, &types.floats(1)?, &types.floats(2)?, &types.ints(3)?.unwrap_or_default())?;
        let moving: Vec<usize> = (0..axes.len()).filter(|&i| axes[i].moves()).collect();
        let (&[.., columns], true) = (&moving[..], types.dtype(0) == Some(DType::F32) && moving.len() < 3)
        else {
            return Lowered::not_on_gpu(
                "no kernel resizes elements of this dtype along none or so many dimensions",
            );
        };
        let rows = (moving.len() == 2).then(|| moving[0]);
        // Pairs of position and weight, as many for each output; and how many.
        let table = |axis: usize| -> Option<(Vec<u32>, usize)> {
            let taps = axes[axis].taps(self.method).into_iter().collect::<Option<Vec<_>>>()?;
            let most = taps.iter().map(Vec::len).max()?;
            let pairs =
                taps.iter().flat_map(|own| (0..most).map(|i| own.get(i).copied().unwrap_or((0, 0.0))));
            Some((pairs.flat_map(|(at, weight)| [at as u32, weight.to_bits()]).collect(), most))
        };
        let of_rows = rows.map_or(Some((vec![0, 1f32.to_bits()], 1)), table);
        let (Some((mut all, row_taps)), Some((of_columns, column_taps))) = (of_rows, table(columns)) else {
            return Lowered::not_on_gpu("no kernel has a value outside the image");
        };
        all.extend(of_columns);
        let between = rows.map_or(columns..columns, |rows| rows + 1..columns);
        let size =
            |axis: Option<usize>, of: fn(&Axis) -> usize| axis.map_or(1, |axis| of(&axes[axis])) as u32;
        let n = types.n_out()?;
        let params = Params {
            n: n as u32,
            in_rows: size(rows, |axis| axis.input),
            rows: size(rows, |axis| axis.output),
            row_taps: row_taps as u32,
            mid: x[between].iter().product::<usize>() as u32,
            in_columns: axes[columns].input as u32,
            columns: axes[columns].output as u32,
            column_taps: column_taps as u32,
            inner: x[columns + 1..].iter().product::<usize>() as u32,
        };
        let bindings = vec![(0, Input(0)), (2, Output(0))];
        let mut dispatch = Dispatch::of_each("resize", &[], bindings, params.bytes(), n)?;
        dispatch.table = Some((1, bytemuck::cast_slice(&all).to_vec()));
        Lowered::one(dispatch)
    }
}

params!("resize": n: u32, in_rows: u32, rows: u32, row_taps: u32, mid: u32, in_columns: u32, columns: u32,
    column_taps: u32, inner: u32);

/// The naive reference, and cases.
#[cfg(any(test, feature = "parity"))]
pub(super) mod parity {
    use super::*;
    use crate::kernels::resize::Nearest;
    use crate::ops::case::{Array, Case, Given, Tolerance, indices};

    fn op(method: Method, coordinates: Coordinates) -> Resize {
        let policy = SizePolicy::Stretch;
        Resize {
            method,
            coordinates,
            axes: None,
            policy,
            exclude_outside: false,
            antialias: false,
            outside: 0.0,
        }
    }

    pub fn cases() -> Vec<Case> {
        let scales = Given::known(&[4], &[1.0f32, 1.0, 2.0, 2.0]);
        let inputs = || vec![Given::noise(&[1, 2, 3, 4], 1), Given::Absent, scales.clone()];
        let nearest = op(Method::Nearest(Nearest::Floor), Coordinates::Asymmetric);
        let linear = op(Method::Linear, Coordinates::HalfPixel);
        let all = [1, 2, 6, 8];
        vec![
            Case::new("nearest", nearest, inputs(), Tolerance::of(0.0), |x| {
                let x = x[0].as_ref().expect("an image");
                let of = |i: Vec<usize>| x.at(&[0, i[1], i[2] / 2, i[3] / 2]);
                vec![Array::new(&all, indices(&all).map(of).collect())]
            }),
            Case::new("linear", linear, inputs(), Tolerance::of(1e-6), |x| {
                let x = x[0].as_ref().expect("an image");
                // Of two pixels a doubled one lies a quarter from the nearer.
                let near = |i: usize, n: usize| {
                    let own = i / 2;
                    let other =
                        if i.is_multiple_of(2) { own.saturating_sub(1) } else { (own + 1).min(n - 1) };
                    [(own, 0.75), (other, 0.25)]
                };
                let of = |i: Vec<usize>| {
                    let rows = near(i[2], 3).into_iter();
                    let cells =
                        rows.flat_map(|(r, a)| near(i[3], 4).map(|(c, b)| a * b * x.at(&[0, i[1], r, c])));
                    cells.sum()
                };
                vec![Array::new(&all, indices(&all).map(of).collect())]
            }),
        ]
    }
}
