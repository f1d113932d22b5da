//! Operators that a file defines by others. A node that names one becomes the nodes of its body, which see nothing but its
//! inputs, with the attributes that they take from it put in.

use super::Import;
use super::order::order;
use crate::error::{Result, ensure, fail};
use crate::formats::onnx::{Attribute, AttributeValue, Function, Graph as Subgraph, Node};
use crate::graph::ValueId;
use std::collections::HashMap;

/// Functions call each other at most so deep.
const MAX_CALLS: usize = 32;

/// What a body gets from the node that calls it.
struct Call<'i, 'a> {
    function: &'i Function<'a>,
    node: &'i Node<'a>,
}

impl<'a> Import<'a> {
    /// The function that a node calls, if the file defines one.
    pub(super) fn function_of(&self, node: &Node<'a>) -> Option<&'a Function<'a>> {
        let called = |function: &&Function| {
            function.name == node.op_type
                && function.domain == node.domain
                && function.overload == node.overload
        };
        self.functions.iter().find(called)
    }

    /// Imports the body of a function for a node with these inputs. Gives the values of its outputs.
    pub(super) fn call(
        &mut self,
        function: &'a Function<'a>,
        node: &Node<'a>,
        inputs: &[Option<ValueId>],
    ) -> Result<Vec<ValueId>> {
        ensure!(self.calls < MAX_CALLS, InvalidGraph, "functions call each other {MAX_CALLS} deep");
        ensure!(
            inputs.len() <= function.inputs.len(),
            InvalidGraph,
            "the function '{}' takes {} inputs, and the node gives {}",
            function.name,
            function.inputs.len(),
            inputs.len()
        );
        let given = function.inputs.iter().zip(inputs).filter_map(|(name, id)| Some((*name, (*id)?)));
        let scopes = self.frame.enter_function(given.collect());
        let own = function.opsets.iter().find(|(domain, _)| domain.is_empty()).map(|(_, version)| *version);
        let own = own.unwrap_or(self.opset);
        let opset = std::mem::replace(&mut self.opset, own);
        self.calls += 1;
        let outputs = self.body_of(&Call { function, node });
        self.calls -= 1;
        self.opset = opset;
        self.frame.leave_function(scopes);
        outputs
    }

    fn body_of(&mut self, call: &Call<'_, 'a>) -> Result<Vec<ValueId>> {
        for index in order(&call.function.nodes) {
            self.node(index, &call.instance(&call.function.nodes[index])?)?;
        }
        let wanted = call.function.outputs.iter().take(call.node.outputs.len());
        wanted
            .map(|name| match self.lookup(name)? {
                Some(id) => Ok(id),
                None => fail!(InvalidGraph, "an output of the function '{}' has no name", call.function.name),
            })
            .collect()
    }
}

impl<'a> Call<'_, 'a> {
    /// A node of the body as it is in this call.
    fn instance(&self, node: &Node<'a>) -> Result<Node<'a>> {
        let attributes = node.attributes.iter().map(|attribute| self.attribute(attribute));
        let attributes = attributes.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        let inputs = node.inputs.iter().map(|name| if self.is_absent(name) { "" } else { name }).collect();
        Ok(Node { attributes, inputs, ..node.clone() })
    }

    /// Whether a name is an input of the function that this call does not give.
    fn is_absent(&self, name: &str) -> bool {
        let at = self.function.inputs.iter().position(|input| *input == name);
        at.is_some_and(|at| self.node.inputs.get(at).is_none_or(|given| given.is_empty()))
    }

    /// An attribute with the value that it takes from the call; none where the call has none and there is no default.
    fn attribute(&self, attribute: &Attribute<'a>) -> Result<Option<Attribute<'a>>> {
        let renamed = |from: &Attribute<'a>| Attribute { name: attribute.name, ..from.clone() };
        if !attribute.ref_attr_name.is_empty() {
            let name = attribute.ref_attr_name;
            let default = || self.function.attribute_defaults.iter().find(|default| default.name == name);
            return Ok(self.node.attribute(name).or_else(default).map(renamed));
        }
        Ok(Some(match &attribute.value {
            AttributeValue::Graph(graph) => {
                let graph = AttributeValue::Graph(Box::new(self.graph(graph)?));
                Attribute { value: graph, ..attribute.clone() }
            }
            _ => attribute.clone(),
        }))
    }

    fn graph(&self, graph: &Subgraph<'a>) -> Result<Subgraph<'a>> {
        let nodes = graph.nodes.iter().map(|node| self.instance(node)).collect::<Result<_>>()?;
        Ok(Subgraph { nodes, ..graph.clone() })
    }
}

/// The names that were in use around a function's body.
pub(super) type Around<'a> = Vec<HashMap<&'a str, ValueId>>;
