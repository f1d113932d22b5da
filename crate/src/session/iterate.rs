//! Bodies: graphs that run any number of times within a run, between two of its plans. ONNX Loop and Scan.

use super::Session;
use crate::error::{Result, ensure, fail};
use crate::graph::Node;
use crate::kernels::clock;
use crate::ops::iterate::{Along, Iterate};
use crate::ops::pad::{Pad, PadMode};
use crate::ops::transpose::Transpose;
use crate::ops::{Op, axis_of};
use crate::tensor::Tensor;
use crate::types::DType;
use std::pin::Pin;
use std::rc::Rc;

/// Bytes that the results of the rounds may take before they are stacked: a loop may have no end.
const MAX_STACKED_BYTES: usize = if cfg!(target_pointer_width = "32") { 1 << 30 } else { 1 << 34 };

/// Lets others have a turn. Fails where the run shall go on no longer.
pub type Pause = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<()>>>>>;

/// Milliseconds between two pauses.
const PAUSE_MS: f64 = 25.0;

impl Session {
    /// Has runs that go round a body ask this every few milliseconds; nothing where there is none.
    pub fn pause_by(&mut self, pause: Option<&Pause>) {
        self.pause = pause.map(|pause| (Rc::clone(pause), clock::now()));
        self.bodies.iter_mut().for_each(|body| body.pause_by(pause));
    }

    /// The outputs of a node that has a body, from its inputs.
    pub(super) async fn iterate(&mut self, node: &Node, inputs: Vec<Option<Tensor>>) -> Result<Vec<Tensor>> {
        let Op::Iterate(op) = &node.op else { return fail!(Internal, "{} has no body", node.op.name()) };
        match op {
            Iterate::Loop { body, carried, stacked } => self.run_loop(*body, *carried, stacked, inputs).await,
            Iterate::Scan { body, carried, sliced, stacked, batched } => {
                let mut inputs = inputs.into_iter();
                let lengths = inputs.next().flatten();
                let inputs = present(inputs)?;
                let scan = Scan { body: *body, carried: *carried, sliced, stacked };
                match batched {
                    false => self.scan(&scan, inputs, None).await,
                    true => self.scan_batch(&scan, inputs, lengths).await,
                }
            }
        }
    }

    /// Runs a body once: it takes what is carried, what else the round has before that, and what it captures.
    async fn round(&mut self, body: usize, inputs: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let Some(session) = self.bodies.get_mut(body) else {
            return fail!(Internal, "there is no such body");
        };
        let wanted = session.graph().inputs().len();
        ensure!(
            inputs.len() == wanted,
            InvalidGraph,
            "a body has {wanted} inputs, and {} came",
            inputs.len()
        );
        let outputs = Box::pin(session.run_all(inputs)).await?;
        if let Some((pause, last)) = &mut self.pause
            && clock::now() - *last > PAUSE_MS
        {
            pause().await?;
            *last = clock::now();
        }
        Ok(outputs)
    }

    async fn run_loop(
        &mut self,
        body: usize,
        n_carried: usize,
        declared: &[(DType, Vec<usize>)],
        inputs: Vec<Option<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        let mut inputs = inputs.into_iter();
        let (most, condition) = (inputs.next().flatten(), inputs.next().flatten());
        let most = match most {
            Some(tensor) => tensor.view().to_ints()?.first().copied().unwrap_or(0),
            None => i64::MAX,
        };
        let mut goes_on = condition.as_ref().map_or(Ok(true), holds)?;
        let mut carried = present(inputs)?;
        ensure!(carried.len() >= n_carried, InvalidGraph, "a loop lacks a value to carry");
        let captured = carried.split_off(n_carried);
        let mut stacks = Stacks::new(declared.len());
        for round in 0..most {
            if !goes_on {
                break;
            }
            let mut given = vec![Tensor::new(&[], &[round])?, truth(goes_on)?];
            given.append(&mut carried);
            given.extend_from_slice(&captured);
            let mut outputs = self.round(body, given).await?.into_iter();
            goes_on = outputs.next().as_ref().map_or(Ok(false), holds)?;
            carried = outputs.by_ref().take(n_carried).collect();
            stacks.push(outputs)?;
        }
        let forwards = Along { axis: 0, backwards: false };
        for (stack, (dtype, shape)) in stacks.0.into_iter().zip(declared) {
            carried.push(stacked(stack, forwards, *dtype, shape)?);
        }
        Ok(carried)
    }

    /// Runs a body for each of the first `length` slices.
    async fn scan(
        &mut self,
        scan: &Scan<'_>,
        mut inputs: Vec<Tensor>,
        length: Option<usize>,
    ) -> Result<Vec<Tensor>> {
        let n_sliced = scan.sliced.len();
        ensure!(inputs.len() >= scan.carried + n_sliced, InvalidGraph, "a scan lacks an input");
        let captured = inputs.split_off(scan.carried + n_sliced);
        let sliced = inputs.split_off(scan.carried);
        let mut carried = inputs;
        let front = |(tensor, along): (Tensor, &Along)| to_front(tensor, along.axis);
        let sliced = sliced.into_iter().zip(scan.sliced).map(front).collect::<Result<Vec<_>>>()?;
        let rounds = sliced.first().map_or(0, |tensor| tensor.shape()[0]);
        let same = sliced.iter().all(|tensor| tensor.shape()[0] == rounds);
        ensure!(same, ShapeMismatch, "a scan has {sliced:?} to slice, which differ in length");
        let rounds = length.map_or(rounds, |length| length.min(rounds));
        let mut stacks = Stacks::new(scan.stacked.len());
        for round in 0..rounds {
            let mut given = std::mem::take(&mut carried);
            for (tensor, along) in sliced.iter().zip(scan.sliced) {
                given.push(tensor.item(if along.backwards {
                    tensor.shape()[0] - 1 - round
                } else {
                    round
                })?);
            }
            given.extend_from_slice(&captured);
            let mut outputs = self.round(scan.body, given).await?.into_iter();
            carried = outputs.by_ref().take(scan.carried).collect();
            stacks.push(outputs)?;
        }
        for (stack, along) in stacks.0.into_iter().zip(scan.stacked) {
            carried.push(stacked(stack, *along, DType::F32, &[])?);
        }
        Ok(carried)
    }

    /// Scans each part of a batch on its own. What is stacked of a part that ends early has zeros to the end.
    async fn scan_batch(
        &mut self,
        scan: &Scan<'_>,
        inputs: Vec<Tensor>,
        lengths: Option<Tensor>,
    ) -> Result<Vec<Tensor>> {
        let own = scan.carried + scan.sliced.len();
        let lengths = lengths.map(|lengths| lengths.view().to_ints()).transpose()?;
        let n = inputs.first().and_then(|tensor| tensor.shape().first().copied()).unwrap_or(0);
        let most = inputs.get(scan.carried).and_then(|tensor| tensor.shape().get(1).copied()).unwrap_or(0);
        let mut parts = Stacks::new(scan.carried + scan.stacked.len());
        for part in 0..n {
            let item =
                |(i, tensor): (usize, &Tensor)| if i < own { tensor.item(part) } else { Ok(tensor.clone()) };
            let given = inputs.iter().enumerate().map(item).collect::<Result<Vec<_>>>()?;
            let length =
                lengths.as_ref().map(|lengths| lengths.get(part).copied().unwrap_or(0).max(0) as usize);
            let outputs = self.scan(scan, given, length).await?;
            let outputs = outputs.into_iter().enumerate();
            let padded =
                outputs.map(|(i, tensor)| if i < scan.carried { Ok(tensor) } else { padded(tensor, most) });
            parts.push(padded.collect::<Result<Vec<_>>>()?.into_iter())?;
        }
        let forwards = Along { axis: 0, backwards: false };
        parts.0.into_iter().map(|stack| stacked(stack, forwards, DType::F32, &[])).collect()
    }
}

/// See [`Iterate::Scan`].
struct Scan<'a> {
    body: usize,
    carried: usize,
    sliced: &'a [Along],
    stacked: &'a [Along],
}

/// What rounds gave, one list for each output.
struct Stacks(Vec<Vec<Tensor>>, usize);

impl Stacks {
    fn new(n: usize) -> Self {
        Self(vec![Vec::new(); n], 0)
    }

    fn push(&mut self, mut outputs: impl Iterator<Item = Tensor>) -> Result<()> {
        for stack in &mut self.0 {
            let Some(tensor) = outputs.next() else { return fail!(InvalidGraph, "a body lacks an output") };
            self.1 += tensor.memory_bytes() + size_of::<Tensor>();
            ensure!(
                self.1 <= MAX_STACKED_BYTES && stack.try_reserve(1).is_ok(),
                OutOfMemory,
                "no memory for what {} rounds of a loop gave",
                stack.len()
            );
            stack.push(tensor);
        }
        Ok(())
    }
}

/// Values that must all be there.
fn present(values: impl Iterator<Item = Option<Tensor>>) -> Result<Vec<Tensor>> {
    let there = |value: Option<Tensor>| match value {
        Some(tensor) => Ok(tensor),
        None => fail!(InvalidGraph, "an input that is carried or sliced is missing"),
    };
    values.map(there).collect()
}

fn holds(condition: &Tensor) -> Result<bool> {
    let is_bool = condition.dtype() == DType::Bool && condition.len() == 1;
    ensure!(is_bool, ShapeMismatch, "a condition is one bool, and {condition:?} came");
    Ok(condition.bytes()[0] != 0)
}

fn truth(holds: bool) -> Result<Tensor> {
    let mut tensor = Tensor::zeros(DType::Bool, &[])?;
    tensor.view_mut().bytes[0] = u8::from(holds);
    Ok(tensor)
}

/// What rounds gave as one tensor, with a dimension for the rounds; where there was none, of a type that is declared.
fn stacked(mut stack: Vec<Tensor>, along: Along, dtype: DType, shape: &[usize]) -> Result<Tensor> {
    if along.backwards {
        stack.reverse();
    }
    if stack.is_empty() {
        return Tensor::zeros(dtype, &[&[0], shape].concat());
    }
    let tensor = Tensor::stack(&stack)?;
    let rank = tensor.shape().len();
    let to = axis_of(along.axis, rank)?;
    move_axis(tensor, 0, to)
}

/// The tensor with a dimension before all others. Fails when it has none.
fn to_front(tensor: Tensor, axis: i64) -> Result<Tensor> {
    let axis = axis_of(axis, tensor.shape().len())?;
    move_axis(tensor, axis, 0)
}

fn move_axis(tensor: Tensor, from: usize, to: usize) -> Result<Tensor> {
    if from == to {
        return Ok(tensor);
    }
    let mut order: Vec<usize> = (0..tensor.shape().len()).collect();
    let moved = order.remove(from);
    order.insert(to, moved);
    Ok(Op::from(Transpose { order: Some(order) }).eval_now(&[Some(&tensor)])?.swap_remove(0))
}

/// The tensor with zeros up to a length of dimension 0.
fn padded(tensor: Tensor, length: usize) -> Result<Tensor> {
    let Some(&own) = tensor.shape().first() else { return Ok(tensor) };
    let mut pads = vec![0i64; 2 * tensor.shape().len()];
    pads[tensor.shape().len()] = length.saturating_sub(own) as i64;
    let pads = Tensor::new(&[pads.len()], &pads)?;
    Ok(Op::from(Pad { mode: PadMode::Constant }).eval_now(&[Some(&tensor), Some(&pads)])?.swap_remove(0))
}
