//! The plans of a session: those of the sizes met last.

use crate::graph::ValueId;
use crate::plan::Stage;
use crate::tensor::Tensor;
use crate::types::{Bindings, TensorType};
use std::collections::HashMap;
use std::ops::Index;
use std::sync::Arc;

/// Plans kept; the one that was not used for the longest time goes when another comes.
const MAX_PLANS: usize = 24;

/// Bytes of known values up to which a plan is worth keeping.
const MAX_KEY_BYTES: usize = 4096;

/// What distinguishes plans.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PlanKey {
    pub outputs: Vec<String>,
    pub sizes: Bindings,
    /// Types of inputs whose type sizes alone do not say, and of what earlier plans of the run computed.
    pub fed: HashMap<ValueId, TensorType>,
    pub known: HashMap<ValueId, Arc<Tensor>>,
    /// Whether the host does everything.
    pub host_only: bool,
}

impl PlanKey {
    /// The key of these outputs, where sizes alone decide on all types.
    pub fn of(outputs: &[&str], sizes: Bindings) -> Self {
        Self { outputs: outputs.iter().map(ToString::to_string).collect(), sizes, ..Default::default() }
    }

    /// Whether it fits one run only, by what that run computed.
    fn fits_one_run(&self) -> bool {
        self.known.values().map(|tensor| tensor.memory_bytes()).sum::<usize>() > MAX_KEY_BYTES
    }
}

/// Planned stages by their keys. An index is that of one stage until another is looked for or added.
#[derive(Default)]
pub(super) struct Plans {
    /// In the order of their last use.
    stages: Vec<(PlanKey, Stage)>,
}

impl Plans {
    /// The index of the stage of that key, which is used.
    pub fn find(&mut self, key: &PlanKey) -> Option<usize> {
        let index = self.stages.iter().position(|(found, _)| found == key)?;
        self.stages[index..].rotate_left(1);
        Some(self.stages.len() - 1)
    }

    /// Takes out a stage, if another has no room or one fits a run that is over.
    pub fn make_room(&mut self) -> Option<Stage> {
        let over = self.stages.iter().position(|(key, _)| key.fits_one_run());
        let oldest = (self.stages.len() == MAX_PLANS).then_some(0);
        over.or(oldest).map(|index| self.stages.remove(index).1)
    }

    /// Adds a stage and gives its index.
    pub fn add(&mut self, key: PlanKey, stage: Stage) -> usize {
        self.stages.push((key, stage));
        self.stages.len() - 1
    }

    /// All stages.
    pub fn iter(&self) -> impl Iterator<Item = &Stage> {
        self.stages.iter().map(|(_, stage)| stage)
    }

    /// Forgets all stages but the host's own, which are the only ones from now on.
    pub fn keep_host_only(&mut self) {
        self.stages.retain_mut(|(key, _)| std::mem::take(&mut key.host_only));
    }
}

impl Index<usize> for Plans {
    type Output = Stage;

    fn index(&self, index: usize) -> &Stage {
        &self.stages[index].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> Stage {
        Stage { segments: vec![], outputs: vec![], pending: vec![], direct: HashMap::new(), calls: vec![] }
    }

    fn key(n: usize) -> PlanKey {
        PlanKey::of(&["y"], Bindings::from([("n".into(), n)]))
    }

    #[test]
    fn a_plan_in_use_stays_however_many_come() {
        let mut plans = Plans::default();
        plans.add(key(0), stage());
        for n in 1..100 {
            assert!(plans.find(&key(n)).is_none());
            assert_eq!(plans.make_room().is_some(), n >= MAX_PLANS);
            plans.add(key(n), stage());
            assert!(plans.find(&key(0)).is_some());
        }
        let kept: Vec<usize> = (0..100).filter(|&n| plans.find(&key(n)).is_some()).collect();
        assert_eq!(kept, [vec![0], (100 - MAX_PLANS + 1..100).collect()].concat());
    }

    #[test]
    fn what_fits_one_run_goes_first() {
        let mut plans = Plans::default();
        let large = Arc::new(Tensor::new(&[2000], &[0.0f32; 2000]).unwrap());
        let known = HashMap::from([(ValueId(0), large)]);
        plans.add(key(0), stage());
        plans.add(PlanKey { known, ..key(1) }, stage());
        assert!(plans.make_room().is_some());
        assert!(plans.find(&key(0)).is_some() && plans.make_room().is_none());
    }
}
