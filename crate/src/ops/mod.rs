//! The catalogue of operators. Each is one file: what it computes and where that is specified, its
//! attributes, the types it infers, how the CPU evaluates it, how it lowers to GPU dispatches, and its
//! cases. One line in [`operators!`](self) below registers it; everything else derives from that line.

#[cfg(any(test, feature = "parity"))]
pub mod case;
mod eval;
pub mod hint;
#[cfg(test)]
mod hostile;
mod known;
mod values;

pub use known::Known;
pub use values::ValueOp;

use crate::error::{Result, ensure, fail};
use crate::kernels::conv::Filters;
use crate::kernels::dispatch::Dispatch;
use crate::kernels::gemm::PackedMatrix;
use crate::kernels::gemm::integer::IntegerMatrix;
use crate::kernels::threads::Threads;
use crate::kernels::walk::Moved;
use crate::tensor::{Tensor, TensorView, TensorViewMut};
use crate::types::{DType, TensorType};

/// What a back end gives an operator that it evaluates on the CPU.
pub struct CpuContext<'a> {
    /// Where loops over independent items run.
    pub threads: &'a Threads,
    /// Whether activations stay f32 everywhere, instead of 8 bits beside quantised weights.
    pub exact: bool,
}

/// One input of an operator on the CPU.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// An optional input that the node does not have, or one whose data already is in the output's buffer
    /// because the plan let the node work in place.
    Absent,
    /// A tensor, contiguous and row-major.
    Tensor(TensorView<'a>),
    /// A weight that was repacked at load, because the operator's [`OpDef::packs`] asked for [`Packing::Matrix`].
    Packed(&'a PackedMatrix),
    /// The same for [`Packing::Filters`].
    Filters(&'a Filters),
    /// The same for [`Packing::Integers`].
    Integers(&'a IntegerMatrix),
}

/// How a weight is stored for the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// A matrix `[n, k]`, as its rows are multiplied with.
    Matrix,
    /// Filters of a convolution, `[groups · each, c, kernel…]`, or of its gradient, `[groups · c, each, kernel…]`.
    Filters {
        /// Parts of the channels that do not meet.
        groups: usize,
        /// Whether it is the gradient.
        transposed: bool,
    },
    /// Filters of three by three, for a convolution of one group without strides and dilations.
    Tiles,
    /// A matrix `[k, n]` of 8-bit integers.
    Integers,
}

impl Packing {
    /// Packs an f32 weight as the filters that this asks for.
    pub fn filters(self, w: TensorView) -> Result<Filters> {
        match self {
            Self::Filters { groups, transposed: false } => Filters::new(w.data()?, w.shape, groups),
            Self::Filters { groups, transposed: true } => Filters::transposed(w.data()?, w.shape, groups),
            Self::Tiles => Filters::tiled(w.data()?, w.shape),
            Self::Matrix | Self::Integers => fail!(Internal, "a matrix has no filters"),
        }
    }
}

impl<'a> Input<'a> {
    /// The tensor. Fails when there is none.
    pub fn tensor(&self) -> Result<TensorView<'a>> {
        match self {
            Self::Tensor(view) => Ok(*view),
            Self::Absent => fail!(InvalidGraph, "an input that the operator needs is missing"),
            Self::Packed(_) | Self::Filters(_) | Self::Integers(_) => {
                fail!(Internal, "a repacked weight reached an operator that did not ask for it")
            }
        }
    }

    /// The tensor, where there is one.
    pub fn optional(&self) -> Result<Option<TensorView<'a>>> {
        match self {
            Self::Absent => Ok(None),
            other => other.tensor().map(Some),
        }
    }
}

/// What a GPU offers, as far as lowering needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuCaps {
    /// Subgroup operations may be used; the size is then the smallest a subgroup can have.
    pub subgroups: Option<u32>,
    /// The most bytes that one binding may cover.
    pub max_binding_bytes: u64,
}

/// What an operator becomes on the GPU.
pub enum Lowered {
    /// Launches, in order.
    Dispatches(Vec<Dispatch>),
    /// There is no kernel for this use: the plan runs the node on the CPU and says why in the profile.
    NotOnGpu {
        /// Why not.
        why: String,
    },
}

/// The types of a node's inputs and outputs with every dimension known.
pub struct Types<'a> {
    /// One per input; `None` for an optional input that is absent.
    pub inputs: &'a [Option<TensorType>],
    /// One per output.
    pub outputs: &'a [TensorType],
    /// The elements of the inputs that are known while planning.
    pub values: &'a [Option<&'a Tensor>],
}

impl Types<'_> {
    /// Whether there is an input `index`.
    fn has(&self, index: usize) -> bool {
        matches!(self.inputs.get(index), Some(Some(_)))
    }

    /// The elements of input `index`, where it is there and they are known.
    fn value(&self, index: usize) -> Option<&Tensor> {
        self.values.get(index).copied().flatten()
    }

    /// The elements of an integer input that the operator [needs](OpDef::needs_values), where it is there.
    fn ints(&self, index: usize) -> Result<Option<Vec<i64>>> {
        self.value(index).map(|tensor| tensor.view().to_ints()).transpose()
    }

    /// The elements of an input of floats that the operator [needs](OpDef::needs_values); none where it is absent.
    fn floats(&self, index: usize) -> Result<Vec<f64>> {
        self.value(index).map_or(Ok(Vec::new()), |tensor| tensor.view().to_floats())
    }

    /// Elements of the first output.
    fn n_out(&self) -> Result<usize> {
        Ok(self.output(0)?.iter().product())
    }

    /// The dimensions of input `index`. Fails when it is absent.
    fn input(&self, index: usize) -> Result<Vec<usize>> {
        match self.inputs.get(index) {
            Some(Some(ty)) => ty.known_shape(),
            _ => fail!(InvalidGraph, "input {index} is missing"),
        }
    }

    /// The element type of input `index`, where there is one.
    fn dtype(&self, index: usize) -> Option<DType> {
        self.inputs.get(index)?.as_ref().map(|ty| ty.dtype)
    }

    /// The dimensions of output `index`.
    fn output(&self, index: usize) -> Result<Vec<usize>> {
        self.outputs[index].known_shape()
    }
}

impl Lowered {
    /// One launch.
    fn one(dispatch: Dispatch) -> Result<Self> {
        Ok(Self::Dispatches(vec![dispatch]))
    }

    /// Launches that move elements of input 0's dtype.
    fn moved(parts: &[Moved], types: &Types) -> Result<Self> {
        let mut launches = Vec::with_capacity(parts.len());
        for part in parts.iter().filter(|part| !part.shape.contains(&0)) {
            let launch = types.dtype(0).map_or(Ok(None), |dtype| part.launch(dtype))?;
            let Some(launch) = launch else {
                return Self::not_on_gpu("no kernel moves elements of this dtype along so many dimensions");
            };
            launches.push(launch);
        }
        Ok(Self::Dispatches(launches))
    }

    /// No kernel, since one number would be made of so many.
    fn too_long(count: usize) -> Result<Self> {
        Self::not_on_gpu(format!("no kernel goes through {count} elements in one line"))
    }

    /// No kernel, and why.
    fn not_on_gpu(why: impl Into<String>) -> Result<Self> {
        Ok(Self::NotOnGpu { why: why.into() })
    }
}

/// One operator: its meaning for types, the CPU and the GPU.
pub trait OpDef {
    /// The types of the outputs, with symbolic dimensions where the inputs have them, or why the inputs do
    /// not fit.
    fn infer(&self, inputs: &Known) -> Result<Vec<TensorType>>;

    /// The inputs whose elements, not their types alone, decide the types of the outputs. A plan computes
    /// them before it goes on.
    fn needs_values(&self) -> &'static [usize] {
        &[]
    }

    /// Whether all inputs must be known, since they or the outputs are values that are no bytes: see [`ValueOp`].
    fn needs_all_values(&self) -> bool {
        false
    }

    /// The outputs, where inputs or outputs are texts, or other values that are no bytes, and the operator has a way of
    /// its own to compute them.
    fn eval_values(&self, _inputs: &[Option<&Tensor>]) -> Result<Option<Vec<Tensor>>> {
        Ok(None)
    }

    /// The graph that computes the outputs by running any number of times, among the bodies of the graph that the node
    /// is in.
    fn body(&self) -> Option<usize> {
        None
    }

    /// Whether elements are only moved, or compared for equality, and zeros added, so that numbers can stand for texts.
    fn moves_elements(&self) -> bool {
        false
    }

    /// The outputs, where the types of the inputs alone say them.
    fn outputs_of_types(&self, _inputs: &Known) -> Result<Option<Vec<Tensor>>> {
        Ok(None)
    }

    /// Whether the output has the elements of input 0 in another shape: no byte moves.
    fn is_view(&self) -> bool {
        false
    }

    /// Computes the outputs on the CPU. Shapes have been inferred and bound: `outputs` have theirs.
    fn eval_cpu(&self, cx: &CpuContext, inputs: &[Input], outputs: &mut [TensorViewMut]) -> Result<()>;

    /// Whether the CPU's kernel wants floats of that dtype, which is not f32, as f32: they are widened for it, and its
    /// results narrowed.
    fn computes_in_f32(&self, _dtype: DType) -> bool {
        false
    }

    /// Whether two evaluations may differ: nothing computes it ahead of a run.
    fn varies(&self) -> bool {
        false
    }

    /// The GPU launches that compute the outputs.
    fn lower_gpu(&self, _caps: &GpuCaps, _types: &Types) -> Result<Lowered> {
        Ok(Lowered::NotOnGpu { why: "this operator has no GPU kernel".into() })
    }

    /// How much there is to compute, in multiply-adds of a loop over memory that is at hand: roughly, for the choice
    /// of a device.
    fn work(&self, types: &Types) -> u64 {
        let elements = |ty: &TensorType| ty.shape.to_known().map_or(0, |dims| dims.iter().product::<usize>());
        let all = types.inputs.iter().flatten().chain(types.outputs).map(elements);
        all.sum::<usize>() as u64
    }

    /// Pairs (input, output) that may share a buffer: on the CPU the input is then [`Input::Absent`] and
    /// its data is in the output.
    fn in_place(&self) -> &'static [(usize, usize)] {
        &[]
    }

    /// Pairs (input, output) where the output *is* the input's state, updated: always the same buffer.
    fn updates_state(&self) -> &'static [(usize, usize)] {
        &[]
    }

    /// How input `index`, when it is a weight or constant of that shape, is wanted. It may come as it is all the same:
    /// when it is computed, or others use it too.
    fn packs(&self, _index: usize, _shape: &[usize]) -> Option<Packing> {
        None
    }
}

/// Declares the operator modules, the [`Op`] enum over them, its dispatch and its names.
macro_rules! operators {
    ($($Op:ident => $file:ident),+ $(,)?) => {
        $(pub mod $file;)+

        /// An operator with its attributes.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op {
            $(#[doc = concat!("See [`", stringify!($file), "`].")] $Op($file::$Op),)+
        }

        impl Op {
            /// The names of all operators, as profiles and shaders write them.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($file)),+];

            /// The operator's name.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$Op(_) => stringify!($file),)+ }
            }

            /// The operator's definition.
            pub fn def(&self) -> &dyn OpDef {
                match self { $(Self::$Op(op) => op,)+ }
            }
        }

        /// The cases of all operators.
        #[cfg(any(test, feature = "parity"))]
        pub fn cases() -> Vec<case::Case> {
            [$($file::parity::cases()),+].concat()
        }

        $(impl From<$file::$Op> for Op {
            fn from(op: $file::$Op) -> Self {
                Self::$Op(op)
            }
        })+
    };
}

operators! {
    AffineGrid => affine_grid,
    ArgMax => argmax,
    ArgReduce => arg_reduce,
    Attend => attend,
    Attention => attention,
    BatchNorm => batch_norm,
    Binary => binary,
    BitCast => bit_cast,
    Cast => cast,
    Choose => choose,
    CausalConv => causal_conv,
    CenterCropPad => center_crop_pad,
    Col2Im => col2im,
    Concat => concat,
    Conv => conv,
    Cumulative => cumulative,
    DeformConv => deform_conv,
    DepthSpace => depth_space,
    Dequantize => dequantize,
    Det => det,
    Dft => dft,
    Einsum => einsum,
    Expand => expand,
    Eye => eye,
    Fill => fill,
    Filter => filter,
    FullAttention => full_attention,
    Gather => gather,
    GatherNd => gather_nd,
    GridSample => grid_sample,
    GroupNorm => group_norm,
    Iterate => iterate,
    IntegerProduct => integer_product,
    LayerNorm => layer_norm,
    List => list,
    LinearAttention => linear_attention,
    Lrn => lrn,
    MatMul => matmul,
    MaxUnpool => max_unpool,
    NllLoss => nll_loss,
    NonMaxSuppression => non_max_suppression,
    NonZero => non_zero,
    OneHot => one_hot,
    Pad => pad,
    Pool => pool,
    Product => product,
    Quantize => quantize,
    Random => random,
    Range => range,
    Recurrent => recurrent,
    Reduce => reduce,
    Reshape => reshape,
    Resize => resize,
    ReverseSequence => reverse_sequence,
    Relabel => relabel,
    RmsNorm => rms_norm,
    RoiPool => roi_pool,
    RopeCache => rope_cache,
    Rotary => rotary,
    Scatter => scatter,
    Select => select,
    Shape => shape,
    Slice => slice,
    Softmax => softmax,
    SortK => sort_k,
    Split => split,
    Stft => stft,
    Take => take,
    TakeAlong => take_along,
    Svm => svm,
    TopK => top_k,
    Transpose => transpose,
    TreeEnsemble => tree_ensemble,
    Triangle => triangle,
    Unary => unary,
    Unique => unique,
    WriteAt => write_at,
}

/// The dimension that an axis means; negative ones count from the end.
pub(crate) fn axis_of(axis: i64, rank: usize) -> Result<usize> {
    let resolved = if axis < 0 { axis + rank as i64 } else { axis };
    ensure!((0..rank as i64).contains(&resolved), ShapeMismatch, "axis {axis} of {rank} dimensions");
    Ok(resolved as usize)
}

/// The dimensions that axes mean. Fails when one is named twice.
fn axes_of(axes: &[i64], rank: usize) -> Result<Vec<usize>> {
    let resolved = axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<Vec<_>>>()?;
    let twice = (1..resolved.len()).any(|i| resolved[..i].contains(&resolved[i]));
    ensure!(!twice, ShapeMismatch, "{axes:?} name a dimension twice");
    Ok(resolved)
}

/// The shape that two shapes broadcast to, from the last dimension on: equal, or one of them 1.
fn broadcast_shape<D: Clone + PartialEq + From<usize>>(a: &[D], b: &[D]) -> Result<Vec<D>>
where
    [D]: std::fmt::Debug,
{
    let rank = a.len().max(b.len());
    let dim = |shape: &[D], i: usize| match (i + shape.len()).checked_sub(rank) {
        Some(i) => shape[i].clone(),
        None => D::from(1),
    };
    (0..rank)
        .map(|i| match (dim(a, i), dim(b, i)) {
            (a, b) if a == b || b == D::from(1) => Ok(a),
            (a, b) if a == D::from(1) => Ok(b),
            _ => fail!(ShapeMismatch, "the shapes {a:?} and {b:?} do not broadcast"),
        })
        .collect()
}

/// Fails unless the type has that dtype.
fn expect_dtype(ty: &TensorType, dtype: DType, what: &str) -> Result<()> {
    ensure!(ty.dtype == dtype, ShapeMismatch, "{what} is {ty}, and {dtype} is wanted");
    Ok(())
}

/// Fails unless the type's elements are floats.
fn expect_float(ty: &TensorType, what: &str) -> Result<()> {
    ensure!(ty.dtype.is_float(), ShapeMismatch, "{what} is {ty}, and floats are wanted");
    Ok(())
}

/// An input that may be absent, and may lie beyond those that the node has.
fn optional<'a>(inputs: &[Input<'a>], index: usize) -> Result<Option<TensorView<'a>>> {
    inputs.get(index).map_or(Ok(None), Input::optional)
}
