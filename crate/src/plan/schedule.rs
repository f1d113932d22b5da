//! The order of nodes that two sides share: as few changes of side as a greedy walk finds.

use super::split::Side;
use crate::graph::{Graph, NodeId, ValueId};
use std::collections::{BTreeSet, HashMap};

/// What waits for what, among the nodes of an order.
pub(super) struct Dependencies {
    /// By position: the positions that a node waits for.
    pub needs: Vec<Vec<usize>>,
    /// By position: the positions that wait for a node.
    pub users: Vec<Vec<usize>>,
}

impl Dependencies {
    /// Of nodes in an order that holds; `root` is the value whose elements a value has.
    pub fn new(graph: &Graph, order: &[NodeId], root: &dyn Fn(ValueId) -> ValueId) -> Self {
        let mut maker = HashMap::new();
        let mut needs = Vec::with_capacity(order.len());
        let mut users = vec![Vec::new(); order.len()];
        for (position, id) in order.iter().enumerate() {
            let node = graph.node(*id);
            let inputs = node.inputs.iter().flatten().filter_map(|id| maker.get(&root(*id)).copied());
            let mut own: Vec<usize> = inputs.collect();
            own.sort_unstable();
            own.dedup();
            own.iter().for_each(|&need| users[need].push(position));
            needs.push(own);
            maker.extend(node.outputs.iter().map(|id| (*id, position)));
        }
        Self { needs, users }
    }

    /// Positions in runs of one side each: on each side all that is ready goes before the side changes.
    pub fn runs(&self, sides: &[Side]) -> Vec<(Side, Vec<usize>)> {
        let device = self.runs_from(Side::Device, sides);
        let host = self.runs_from(Side::Host, sides);
        if host.len() < device.len() { host } else { device }
    }

    fn runs_from(&self, first: Side, sides: &[Side]) -> Vec<(Side, Vec<usize>)> {
        let mut missing: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut ready: BTreeSet<usize> = (0..missing.len()).filter(|&i| missing[i] == 0).collect();
        let mut waiting: BTreeSet<usize> = ready.iter().copied().filter(|&i| sides[i] != first).collect();
        ready.retain(|i| sides[*i] == first);
        let mut runs = Vec::new();
        let mut side = first;
        while !(ready.is_empty() && waiting.is_empty()) {
            let mut run = Vec::new();
            while let Some(next) = ready.pop_first() {
                run.push(next);
                for &user in &self.users[next] {
                    missing[user] -= 1;
                    if missing[user] == 0 {
                        if sides[user] == side {
                            ready.insert(user)
                        } else {
                            waiting.insert(user)
                        };
                    }
                }
            }
            if !run.is_empty() {
                runs.push((side, run));
            }
            side = side.other();
            std::mem::swap(&mut ready, &mut waiting);
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Side::{Device, Host};

    /// Dependencies from the positions that each waits for.
    fn of(needs: &[&[usize]]) -> Dependencies {
        let mut users = vec![Vec::new(); needs.len()];
        for (i, needs) in needs.iter().enumerate() {
            needs.iter().for_each(|&need| users[need].push(i));
        }
        Dependencies { needs: needs.iter().map(|needs| needs.to_vec()).collect(), users }
    }

    #[test]
    fn what_may_wait_does_so_that_sides_change_less_often() {
        // Two chains, interleaved: 0 → 2 → 4 and 1 → 3 → 4.
        let chains = of(&[&[], &[], &[0], &[1], &[2, 3]]);
        let runs = chains.runs(&[Device, Host, Device, Host, Device]);
        assert_eq!(runs, [(Host, vec![1, 3]), (Device, vec![0, 2, 4])]);
        assert_eq!(chains.runs(&[Device; 5]), [(Device, vec![0, 1, 2, 3, 4])]);
        // A chain that must change.
        let chain = of(&[&[], &[0], &[1]]);
        assert_eq!(chain.runs(&[Device, Host, Device]).len(), 3);
        assert_eq!(of(&[]).runs(&[]), []);
    }
}
