//! What the parity suite runs of an operator: inputs, and what the operator's naive reference makes of them.

use super::Op;
use crate::quant::{decode_row, sample};
use crate::tensor::{Element, Tensor, TensorView};
use crate::types::DType;

/// Values of any type as f64, for references.
#[derive(Clone, Debug)]
pub struct Array {
    /// The shape.
    pub shape: Vec<usize>,
    /// The values, row-major.
    pub values: Vec<f64>,
}

impl Array {
    /// An array of those values, whose number is the shape's.
    pub fn new(shape: &[usize], values: Vec<f64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        Self { shape: shape.to_vec(), values }
    }

    /// The value at an index.
    pub fn at(&self, index: &[usize]) -> f64 {
        self.values[index.iter().zip(&self.shape).fold(0, |at, (i, n)| at * n + i)]
    }

    /// The rows of the last dimension.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f64> {
        self.values.chunks_exact(self.shape.last().copied().unwrap_or(1))
    }

    /// The elements of a tensor.
    pub fn of(tensor: &Tensor) -> Self {
        Self::new(tensor.shape(), decode(tensor.dtype(), tensor.bytes(), tensor.shape().iter().product()))
    }
}

/// All indices of a shape, in row-major order.
pub fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    (0..shape.iter().product::<usize>()).map(|mut i| {
        let mut index: Vec<usize> = (shape.iter().rev())
            .map(|n| {
                let digit = i % n;
                i /= n;
                digit
            })
            .collect();
        index.reverse();
        index
    })
}

/// Bytes of a type as f64.
fn decode(dtype: DType, bytes: &[u8], n: usize) -> Vec<f64> {
    match dtype {
        DType::F32 => bytes.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        DType::F16 => bytes.as_chunks().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f64()).collect(),
        DType::BF16 => bytes.as_chunks().0.iter().map(|b| half::bf16::from_le_bytes(*b).to_f64()).collect(),
        DType::Block(format) => {
            let mut out = vec![0.0; n];
            decode_row(format, bytes, &mut out);
            out.into_iter().map(f64::from).collect()
        }
        dtype => TensorView { dtype, shape: &[n], bytes }.to_floats().expect("elements one by one"),
    }
}

/// One input of a case.
#[derive(Clone)]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub enum Given {
    /// An optional input that is left out.
    Absent,
    /// Fed at the run.
    Fed(Tensor),
    /// A constant of the graph.
    Known(Tensor),
    /// A weight of the file.
    Weight { dtype: DType, shape: Vec<usize>, bytes: Vec<u8> },
    /// A state, zeros before the run.
    State { dtype: DType, shape: Vec<usize> },
}

impl Given {
    /// Fed elements.
    pub fn fed<T: Element>(shape: &[usize], data: &[T]) -> Self {
        Self::Fed(Tensor::new(shape, data).expect("the shape has that many elements"))
    }

    /// Constant elements.
    pub fn known<T: Element>(shape: &[usize], data: &[T]) -> Self {
        Self::Known(Tensor::new(shape, data).expect("the shape has that many elements"))
    }

    /// Fed random u8.
    pub fn bytes(shape: &[usize], seed: u64) -> Self {
        let n = shape.iter().product::<usize>() as u64;
        let byte = |i: u64| ((i * 7 + seed).wrapping_mul(2_654_435_761) >> 7) as u8;
        Self::fed(shape, &(0..n).map(byte).collect::<Vec<_>>())
    }

    /// Fed random f32 in -1..1.
    pub fn noise(shape: &[usize], seed: u64) -> Self {
        Self::random(DType::F32, shape, seed)
    }

    /// Fed random values of a float type.
    pub fn random(dtype: DType, shape: &[usize], seed: u64) -> Self {
        let mut tensor = Tensor::zeros(dtype, shape).expect("a small tensor");
        tensor.view_mut().bytes.copy_from_slice(&sample(dtype, shape.iter().product(), seed));
        Self::Fed(tensor)
    }

    /// A weight of random values.
    pub fn weight(dtype: DType, shape: &[usize], seed: u64) -> Self {
        let bytes = sample(dtype, shape.iter().product(), seed);
        Self::Weight { dtype, shape: shape.to_vec(), bytes }
    }

    /// The dtype, where it is not left out.
    pub fn dtype(&self) -> Option<DType> {
        match self {
            Self::Absent => None,
            Self::Fed(tensor) | Self::Known(tensor) => Some(tensor.dtype()),
            Self::Weight { dtype, .. } | Self::State { dtype, .. } => Some(*dtype),
        }
    }

    fn array(&self) -> Option<Array> {
        match self {
            Self::Absent => None,
            Self::Fed(tensor) | Self::Known(tensor) => Some(Array::of(tensor)),
            Self::Weight { dtype, shape, bytes } => {
                Some(Array::new(shape, decode(*dtype, bytes, shape.iter().product())))
            }
            Self::State { shape, .. } => Some(Array::new(shape, vec![0.0; shape.iter().product()])),
        }
    }
}

/// By how much of the largest value of an output a back end may differ from the reference.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// With f32 activations: rounding in another order, and the approximations of `exp` that shaders may make.
    pub exact: f64,
    /// With activations of 8 bits beside quantised weights, on the CPU.
    pub quantised: f64,
}

impl Tolerance {
    /// The same for both.
    pub fn of(exact: f64) -> Self {
        Self { exact, quantised: exact }
    }
}

/// An operator with inputs and the right outputs.
#[derive(Clone)]
pub struct Case {
    /// What distinguishes it.
    pub name: String,
    /// The operator.
    pub op: Op,
    /// Its inputs.
    pub inputs: Vec<Given>,
    /// What the reference gives.
    pub want: Vec<Array>,
    /// How near is near enough.
    pub tolerance: Tolerance,
}

impl Case {
    /// A case whose outputs are what `reference` makes of the inputs.
    pub fn new(
        name: impl Into<String>,
        op: impl Into<Op>,
        inputs: Vec<Given>,
        tolerance: Tolerance,
        reference: impl Fn(&[Option<Array>]) -> Vec<Array>,
    ) -> Self {
        let arrays: Vec<_> = inputs.iter().map(Given::array).collect();
        Self { name: name.into(), op: op.into(), want: reference(&arrays), inputs, tolerance }
    }

    /// Fails, saying where, unless the outputs are near enough to the right ones.
    pub fn check(&self, got: &[Array], tolerance: f64) -> Result<f64, String> {
        let mut worst = 0.0f64;
        if got.len() != self.want.len() {
            return Err(format!("{} outputs, not {}", got.len(), self.want.len()));
        }
        for (output, (want, got)) in self.want.iter().zip(got).enumerate() {
            if want.shape != got.shape {
                return Err(format!("output {output} has the shape {:?}, not {:?}", got.shape, want.shape));
            }
            let largest = want.values.iter().fold(1e-30f64, |a, x| a.max(x.abs()));
            for (i, (want, got)) in want.values.iter().zip(&got.values).enumerate() {
                let error = (want - got).abs() / largest;
                // A NaN is far from everything.
                if error.is_nan() || error > tolerance {
                    return Err(format!(
                        "value {i} of output {output} is {got}, not {want} (largest {largest})"
                    ));
                }
                worst = worst.max(error);
            }
        }
        Ok(worst)
    }
}
