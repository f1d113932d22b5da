//! Windows that slide over the spatial dimensions of a tensor: what convolutions and poolings share.

use crate::error::{Result, ensure};

/// Where windows lie: one entry a spatial dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    /// Elements of a window.
    pub kernel: Vec<usize>,
    /// From one window to the next.
    pub strides: Vec<usize>,
    /// From one element of a window to the next.
    pub dilations: Vec<usize>,
    /// Elements beyond the edge, before and after.
    pub pads: Vec<(usize, usize)>,
}

/// How the amounts of padding are found.
#[derive(Clone, Debug, PartialEq)]
pub enum Padding {
    /// As given: all before, then all after.
    Given(Vec<usize>),
    /// So that there are `⌈n / stride⌉` windows; an odd element goes to the end.
    SameUpper,
    /// The same; an odd element goes to the beginning.
    SameLower,
    /// None.
    Valid,
}

/// Strides, dilations and padding as a node has them; what is left out is 1 and 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Sliding {
    /// Elements from one window to the next.
    pub strides: Option<Vec<usize>>,
    /// Elements from one of a window's to the next.
    pub dilations: Option<Vec<usize>>,
    /// Elements beyond the edge.
    pub padding: Padding,
}

impl Sliding {
    /// The windows of `kernel` over spatial dimensions `input`. Fails when the numbers of dimensions differ.
    pub fn over(&self, input: &[usize], kernel: &[usize]) -> Result<Windows> {
        let rank = kernel.len();
        let strides = self.strides.clone().unwrap_or_else(|| vec![1; rank]);
        let dilations = self.dilations.clone().unwrap_or_else(|| vec![1; rank]);
        ensure!(
            [input.len(), strides.len(), dilations.len()] == [rank; 3]
                && !strides.contains(&0)
                && !kernel.contains(&0),
            ShapeMismatch,
            "a window {kernel:?} with strides {strides:?} and dilations {dilations:?} over {input:?}"
        );
        let same = |i: usize, lower: bool| {
            let windows = input[i].div_ceil(strides[i]);
            let span = windows.saturating_sub(1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1;
            let total = span.saturating_sub(input[i]);
            let half = total / 2;
            if lower { (total - half, half) } else { (half, total - half) }
        };
        let pads = match &self.padding {
            Padding::Given(pads) => {
                ensure!(pads.len() == 2 * rank, ShapeMismatch, "{} pads for {rank} dimensions", pads.len());
                (0..rank).map(|i| (pads[i], pads[i + rank])).collect()
            }
            Padding::SameUpper => (0..rank).map(|i| same(i, false)).collect(),
            Padding::SameLower => (0..rank).map(|i| same(i, true)).collect(),
            Padding::Valid => vec![(0, 0); rank],
        };
        Ok(Windows { kernel: kernel.to_vec(), strides, dilations, pads })
    }
}

impl Windows {
    /// How many windows fit along each dimension; with `ceil`, also one that begins within and ends beyond.
    pub fn count(&self, input: &[usize], ceil: bool) -> Vec<usize> {
        (0..input.len())
            .map(|i| {
                let (before, after) = self.pads[i];
                let padded = input[i] + before + after;
                let Some(room) = padded.checked_sub((self.kernel[i] - 1) * self.dilations[i] + 1) else {
                    return 0;
                };
                let n = if ceil { room.div_ceil(self.strides[i]) } else { room / self.strides[i] } + 1;
                let begins_beyond = ceil && (n - 1) * self.strides[i] >= input[i] + before;
                n - usize::from(begins_beyond)
            })
            .collect()
    }

    /// The element of the input that element `k` of window `o` is, along dimension `i`; none beyond the edge.
    pub fn at(&self, i: usize, o: usize, k: usize, input: usize) -> Option<usize> {
        let at = (o * self.strides[i] + k * self.dilations[i]).checked_sub(self.pads[i].0)?;
        (at < input).then_some(at)
    }
}

/// Calls `each` for every index of `shape`, in row-major order.
pub fn for_each_index(shape: &[usize], mut each: impl FnMut(&[usize])) {
    if shape.contains(&0) {
        return;
    }
    let mut index = vec![0; shape.len()];
    loop {
        each(&index);
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
}
