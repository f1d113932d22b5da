//! A run in segments, where one back end (the *device*, a GPU) cannot do everything and another (the *host*, the
//! CPU) does the rest. Every node that the device has a kernel for goes there; then segments of the device go back
//! whose work the host would finish before the data had crossed. What both sides need crosses: results of the
//! device are read back, results of the host are fed. What only the device needs again stays there.

use super::layout::{Direct, Run, Shared};
use super::schedule::Dependencies;
use super::{Given, Plan, PlanOptions};
use crate::error::Result;
use crate::graph::{Graph, NodeId, Source, ValueId};
use crate::ops::Types;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Where a segment runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// On the back end that is preferred.
    Device,
    /// On the one that can do everything.
    Host,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Device => Self::Host,
            Self::Host => Self::Device,
        }
    }
}

/// What it costs to go from one side to the other and back, and what the host would do in that time. The rule needs
/// no more than orders of magnitude.
#[derive(Clone, Copy, Debug)]
pub struct Crossing {
    /// Nanoseconds from the end of a segment of the device until the host has its results, beside copying them.
    pub read_back_ns: f64,
    /// Nanoseconds for each byte that crosses.
    pub byte_ns: f64,
    /// Nanoseconds that a unit of [work](crate::ops::OpDef::work) takes on the host.
    pub work_ns: f64,
}

impl Crossing {
    /// Of a browser: it takes half a millisecond to map a buffer, 2 GB/s go either way, and four multiply-adds a
    /// nanosecond are what plain SIMD on one thread reaches.
    pub const TYPICAL: Self = Self { read_back_ns: 5e5, byte_ns: 0.5, work_ns: 0.25 };
    /// Costs nothing: whatever the device can do goes there.
    pub const FREE: Self = Self { read_back_ns: 0.0, byte_ns: 0.0, work_ns: 1.0 };
}

/// The two sides of a run.
pub struct Sides<'a> {
    /// What plans of the device may do.
    pub device: PlanOptions,
    /// What plans of the host may do.
    pub host: PlanOptions,
    /// Why the device cannot run a node, where it cannot.
    pub refuses: &'a dyn Fn(NodeId, &Types) -> Result<Option<String>>,
    /// What changing sides costs.
    pub crossing: Crossing,
}

/// A part of a run that one side does.
#[derive(Debug)]
pub struct Segment {
    /// Which side.
    pub side: Side,
    /// What it does. Its outputs are those of the run that it computes, and what crosses.
    pub plan: Plan,
}

/// A run, or the part of it that comes before elements must be known, in segments.
#[derive(Debug)]
pub struct Stage {
    /// At least one.
    pub segments: Vec<Segment>,
    /// See [`Plan::pending`].
    pub pending: Vec<ValueId>,
    /// Nodes whose body runs then: what they take is among the outputs.
    pub calls: Vec<NodeId>,
    /// What it computes for its caller, in order: names and values.
    pub outputs: Vec<(String, ValueId)>,
    /// Those of the outputs that no segment computes.
    pub direct: HashMap<ValueId, Direct>,
}

impl Stage {
    /// The run on one back end.
    pub fn whole(
        graph: &Graph,
        outputs: &[(String, ValueId)],
        given: &Given,
        side: Side,
        options: PlanOptions,
    ) -> Result<Self> {
        let run = Run::new(graph, outputs, given)?;
        let plan = run.plan(&run.order, &run.computed, &Shared::default(), options);
        Ok(Self::of(run, vec![Segment { side, plan }]))
    }

    /// The run on two.
    pub fn split(graph: &Graph, outputs: &[(String, ValueId)], given: &Given, sides: &Sides) -> Result<Self> {
        let run = Run::new(graph, outputs, given)?;
        let (mut placed, mut reasons, mut work) = (Vec::new(), HashMap::new(), Vec::new());
        for &id in &run.order {
            let (refused, units) = run.asked(id, sides)?;
            work.push(units);
            placed.push(if refused.is_some() { Side::Host } else { Side::Device });
            reasons.extend(refused.map(|why| (id, Arc::from(why))));
        }
        let dependencies = Dependencies::new(graph, &run.order, &|id| run.views.root(id));
        // States change under those that read them: their order stays.
        let order = |placed: &[Side]| match run.states.is_empty() {
            true => dependencies.runs(placed),
            false => runs_in_order(placed),
        };
        let mut runs = order(&placed);
        while runs.len() > 1 {
            let too_small = runs.iter().enumerate().filter(|(_, (side, _))| *side == Side::Device);
            let gains = too_small.map(|(i, (_, nodes))| {
                let bytes: f64 = run.crossing_bytes(nodes, &dependencies) as f64;
                let own: f64 = nodes.iter().map(|&node| work[node]).sum();
                let crossing = sides.crossing.read_back_ns + bytes * sides.crossing.byte_ns;
                (i, crossing - own * sides.crossing.work_ns)
            });
            let Some((worst, gain)) = gains.max_by(|a, b| a.1.total_cmp(&b.1)) else { break };
            if gain <= 0.0 {
                break;
            }
            for &node in &runs[worst].1 {
                placed[node] = Side::Host;
                reasons.insert(
                    run.order[node],
                    Arc::from("its part has too little work to be worth the way there"),
                );
            }
            runs = order(&placed);
        }
        let segments = run.segments(&runs, &reasons, sides);
        Ok(Self::of(run, segments))
    }

    /// Whether the run ends with it.
    pub fn is_last(&self) -> bool {
        self.pending.is_empty() && self.calls.is_empty()
    }

    fn of(run: Run, segments: Vec<Segment>) -> Self {
        let Run { resolved, outputs, direct, .. } = run;
        Self { segments, pending: resolved.pending, calls: resolved.calls, outputs, direct }
    }
}

/// Neighbours of one side together.
fn runs_in_order(placed: &[Side]) -> Vec<(Side, Vec<usize>)> {
    let mut runs: Vec<(Side, Vec<usize>)> = Vec::new();
    for (position, &side) in placed.iter().enumerate() {
        match runs.last_mut() {
            Some((last, run)) if *last == side => run.push(position),
            _ => runs.push((side, vec![position])),
        }
    }
    runs
}

impl Run<'_> {
    /// Why the device refuses a node, where it does, and the node's work.
    fn asked(&self, id: NodeId, sides: &Sides) -> Result<(Option<String>, f64)> {
        let node = self.graph.node(id);
        let ty = |id: &ValueId| self.resolved.types[id].clone();
        let inputs: Vec<_> = node.inputs.iter().map(|id| id.as_ref().map(ty)).collect();
        let outputs: Vec<_> = node.outputs.iter().map(ty).collect();
        let values = node.inputs.iter().map(|id| match &self.graph.value((*id)?).source {
            Source::Const(tensor) => Some(&**tensor),
            _ => self.resolved.known.get(&(*id)?).map(|tensor| &**tensor),
        });
        let values: Vec<_> = values.collect();
        let types = Types { inputs: &inputs, outputs: &outputs, values: &values };
        let refused = (sides.refuses)(id, &types).map_err(|e| e.at(&*node.name))?;
        Ok((refused, node.op.def().work(&types) as f64))
    }

    /// Bytes that the nodes at these positions take from others, and give to others.
    fn crossing_bytes(&self, nodes: &[usize], dependencies: &Dependencies) -> usize {
        let own: HashSet<usize> = nodes.iter().copied().collect();
        let bytes = |id: &ValueId| self.resolved.types[id].n_bytes().unwrap_or(0);
        let mut taken = HashSet::new();
        let mut sum = 0;
        for &position in nodes {
            let node = self.graph.node(self.order[position]);
            let from_others = dependencies.needs[position].iter().filter(|need| !own.contains(need));
            let made: HashSet<ValueId> = from_others
                .flat_map(|&need| self.graph.node(self.order[need]).outputs.iter().copied())
                .collect();
            let crossing = node.inputs.iter().flatten().filter(|id| made.contains(&self.views.root(**id)));
            sum += crossing.filter(|id| taken.insert(self.views.root(**id))).map(bytes).sum::<usize>();
            if dependencies.users[position].iter().any(|user| !own.contains(user)) {
                sum += node.outputs.iter().map(bytes).sum::<usize>();
            }
        }
        sum
    }

    /// The plans of runs of positions.
    fn segments(
        &self,
        runs: &[(Side, Vec<usize>)],
        reasons: &HashMap<NodeId, Arc<str>>,
        sides: &Sides,
    ) -> Vec<Segment> {
        let nodes = |run: &[usize]| run.iter().map(|&position| self.order[position]).collect::<Vec<_>>();
        // For each value: the segment that computes it, and those that use it.
        let (mut maker, mut users) = (HashMap::new(), HashMap::<ValueId, Vec<usize>>::new());
        for (segment, (_, run)) in runs.iter().enumerate() {
            for node in nodes(run).iter().map(|id| self.graph.node(*id)) {
                maker.extend(node.outputs.iter().map(|id| (*id, segment)));
                node.inputs
                    .iter()
                    .flatten()
                    .for_each(|id| users.entry(self.views.root(*id)).or_default().push(segment));
            }
        }
        let used_on = |id: &ValueId, wanted: Side| {
            let others = users.get(id).into_iter().flatten();
            others.into_iter().any(|&user| user != maker[id] && runs[user].0 == wanted)
        };
        let last = runs.len().saturating_sub(1);
        let segment_of = |id: ValueId| maker.get(&self.views.root(id)).copied().unwrap_or(last);
        let mut made: Vec<ValueId> = maker.keys().copied().collect();
        made.sort_unstable();
        let no_nodes = [(Side::Host, Vec::new())];
        let runs = if runs.is_empty() { &no_nodes[..] } else { runs };
        let plan = |(segment, (side, run)): (usize, &(Side, Vec<usize>))| {
            let mut shared = Shared::default();
            let mut outputs: Vec<(String, ValueId)> =
                self.computed.iter().filter(|(_, id)| segment_of(*id) == segment).cloned().collect();
            for &id in &made {
                let from = runs[maker[&id]].0;
                let own = maker[&id] == segment;
                if from == Side::Device && *side == Side::Device && used_on(&id, Side::Device) {
                    shared.kept.insert(id);
                } else if !own {
                    shared.fed.insert(id);
                }
                let crosses = used_on(&id, Side::Host) || (*side == Side::Host && used_on(&id, Side::Device));
                if own && crosses && !outputs.iter().any(|(_, output)| *output == id) {
                    outputs.push((self.graph.value(id).name.to_string(), id));
                }
            }
            let order = nodes(run);
            let options = if *side == Side::Device { sides.device } else { sides.host };
            let mut plan = self.plan(&order, &outputs, &shared, options);
            let why = |id: &NodeId| Some((*id, reasons.get(id)?.clone()));
            plan.reasons = order.iter().filter_map(why).collect();
            Segment { side: *side, plan }
        };
        runs.iter().enumerate().map(plan).collect()
    }
}
