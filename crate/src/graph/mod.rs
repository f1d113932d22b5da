//! The typed graph that every importer ends in and every pass, plan and back end starts from.
//!
//! A [`Graph`] is values and nodes. A value is an input, a weight of the file, a constant, a state that
//! lives between runs (a KV cache), or the output of a node; it has a type, whose dimensions may be
//! symbols. A node applies an operator to values. Types are inferred as nodes are added, so a graph that
//! exists has been checked; [`verify`](Graph::verify) checks it again after each pass.

mod display;
mod graph;
mod order;
mod rewrite;
mod verify;

pub use graph::{Derivation, Graph, Node, NodeId, Source, Value, ValueId, WeightSource};
pub use order::Visit;
