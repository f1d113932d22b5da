//! Operators that are not supported are found at load, all at once, wherever in a file they are: by name, node and opset.

mod proto;

use homefire::backend::cpu::CpuBackend;
use homefire::error::{Error, ErrorKind, Result};
use homefire::session::Network;
use proto::{graph, int, node, part, port};

/// A node of a domain.
fn of_domain(domain: &str, node: Vec<u8>) -> Vec<u8> {
    // What `node` gives is one field, with its length behind the number.
    let length = node[1..].iter().position(|byte| *byte < 128).expect("a length") + 1;
    part(1, &[&node[1 + length..], &part(7, &[domain.as_bytes()])])
}

fn opset(number: u8, domain: &str, version: usize) -> Vec<u8> {
    part(number, &[&part(1, &[domain.as_bytes()]), &int(2, version)])
}

/// The body of a loop that carries nothing but a value, which `op` computes.
fn looped(nodes: &[Vec<u8>]) -> Vec<u8> {
    let ports = [
        port(11, "round", 7, None),
        port(11, "go", 9, None),
        port(11, "v", 1, Some(2)),
        port(12, "go", 9, None),
        port(12, "v_next", 1, Some(2)),
    ];
    graph("body", &[nodes, &ports].concat())
}

/// A choice in whose branches `first` is in a loop in a loop, and `second` is scanned with; a function of the file that
/// calls `third` by another function; and `fourth` behind them.
fn model(ops: [&str; 4]) -> Vec<u8> {
    let [first, second, third, fourth] = ops;
    let inner = looped(&[node(first, &["v"], "v_next", &[])]);
    let outer = looped(&[node("Loop", &["", "go", "v"], "v_next", &[inner])]);
    let then =
        graph("then_branch", &[node("Loop", &["", "more", "x"], "t", &[outer]), port(12, "t", 1, Some(2))]);
    let scanned = graph(
        "body",
        &[
            of_domain("", node(second, &["item"], "each", &[])),
            port(11, "item", 1, None),
            port(12, "each", 1, None),
        ],
    );
    let one = [part(1, &[b"num_scan_inputs"]), int(3, 1), int(20, 2)].concat();
    let or = graph("else_branch", &[node("Scan", &["x"], "e", &[scanned, one]), port(12, "e", 1, Some(2))]);
    let function = |name: &str, body: Vec<u8>, version: usize| {
        let node = [&[7 << 3 | 2], &body[1..]].concat();
        let names =
            [part(1, &[name.as_bytes()]), part(4, &[b"a"]), part(5, &[b"b"]), part(10, &[b"own"])].concat();
        part(25, &[&names, &node, &opset(9, "", version), &opset(9, "own", 1)])
    };
    let called = of_domain("own", node("Inner", &["a"], "b", &[]));
    let main = [
        node("If", &["more"], "chosen", &[then, or]),
        of_domain("own", node("Outer", &["chosen"], "made", &[])),
        node(fourth, &["made"], "y", &[]),
        part(2, &[b"graph"]),
        port(11, "x", 1, Some(2)),
        port(11, "more", 9, None),
        port(12, "y", 1, Some(2)),
    ];
    [
        int(1, 10),
        part(7, &[&main.concat()]),
        opset(8, "", 21),
        opset(8, "own", 1),
        function("Outer", called, 21),
        function("Inner", node(third, &["a"], "b", &[]), 18),
    ]
    .concat()
}

fn load(model: &[u8]) -> Result<Network> {
    Network::new(model, |graph| Ok(Box::new(CpuBackend::new(graph, true)?)))
}

fn refused(model: &[u8]) -> Error {
    load(model).map(|_| ()).expect_err("operators that nobody knows")
}

#[test]
fn what_is_supported_loads_wherever_it_is() {
    load(&model(["Neg", "Abs", "Exp", "Relu"])).unwrap();
}

#[test]
fn what_is_missing_is_named_wherever_it_is() {
    let error = refused(&model(["InALoop", "InAScan", "InAFunction", "Behind"]));
    assert_eq!(error.kind(), ErrorKind::UnsupportedOp);
    for wanted in [
        "InALoop of opset 21 (node 'InALoop')",
        "InAScan of opset 21 (node 'InAScan')",
        "InAFunction of opset 18 (node 'InAFunction')",
        "Behind of opset 21 (node 'Behind')",
    ] {
        assert!(error.message().contains(wanted), "{wanted}: {error}");
    }
    for (at, name) in ["InALoop", "InAScan", "InAFunction", "Behind"].into_iter().enumerate() {
        let mut ops = ["Neg", "Abs", "Exp", "Relu"];
        ops[at] = name;
        let error = refused(&model(ops));
        assert_eq!((error.kind(), error.node()), (ErrorKind::UnsupportedOp, Some(name)), "{error}");
    }
}

#[test]
fn uses_that_are_not_supported_are_named_with_them() {
    // An operator without the attribute that it needs, and one that is not there.
    let error = refused(&model(["TfIdfVectorizer", "Neg", "InAFunction", "OneHotEncoder"]));
    assert_eq!(error.kind(), ErrorKind::InvalidGraph, "{error}");
    let error = refused(&model(["RegexFullMatch", "Neg", "InAFunction", "Neg"]));
    assert_eq!(error.message().matches("InAFunction").count(), 2, "{error}");
    let pattern = [part(1, &[b"pattern"]), part(4, &[br"\p{L}"]), int(20, 3)].concat();
    let nodes = [
        node("RegexFullMatch", &["x"], "m", &[pattern]),
        node("Strange", &["m"], "y", &[]),
        part(2, &[b"graph"]),
        port(11, "x", 8, Some(2)),
        port(12, "y", 1, Some(2)),
    ];
    let error = refused(&[int(1, 10), part(7, &[&nodes.concat()]), opset(8, "", 21)].concat());
    for wanted in [
        "RegexFullMatch of opset 21 (node 'RegexFullMatch': the pattern",
        "Strange of opset 21 (node 'Strange')",
    ] {
        assert!(error.message().contains(wanted), "{wanted}: {error}");
    }
}

#[test]
fn what_grouped_attention_does_not_have_is_named() {
    let heads = |name: &str, n: usize| [part(1, &[name.as_bytes()]), int(3, n), int(20, 2)].concat();
    let model = |inputs: &[&str], more: Vec<u8>| {
        let attributes = [heads("num_heads", 4), heads("kv_num_heads", 2), more];
        let node = node("GroupQueryAttention", inputs, "y", &attributes);
        let ports = ["q", "k", "v", "sizes", "x"].map(|name| port(11, name, 1, Some(2)));
        let graph = [of_domain("com.microsoft", node), part(2, &[b"graph"]), ports.concat()];
        [int(1, 10), part(7, &[&graph.concat(), &port(12, "y", 1, None)]), opset(8, "com.microsoft", 1)]
            .concat()
    };
    let plain = ["q", "k", "v", "", "", "sizes", "sizes"];
    load(&model(&plain, heads("smooth_softmax", 1))).unwrap();
    let text = |name: &str, value: &str| {
        [part(1, &[name.as_bytes()]), part(4, &[value.as_bytes()]), int(20, 3)].concat()
    };
    let attributes = [
        (text("k_quant_type", "PER_TENSOR"), "k_quant_type PER_TENSOR"),
        (text("v_quant_type", "PER_CHANNEL"), "v_quant_type PER_CHANNEL"),
        (heads("sliding_window_cache", 1), "a sliding_window_cache"),
    ];
    for (attribute, wanted) in attributes {
        let error = refused(&model(&plain, attribute));
        assert!(error.kind() == ErrorKind::UnsupportedOp && error.message().contains(wanted), "{error}");
    }
    for (i, name) in [(12, "k_scale"), (13, "v_scale"), (14, "q_norm_weight"), (15, "k_norm_weight")] {
        let inputs: Vec<&str> =
            (0..=i).map(|at| if at == i { "x" } else { *plain.get(at).unwrap_or(&"") }).collect();
        let error = refused(&model(&inputs, heads("causal", 1)));
        assert!(error.kind() == ErrorKind::UnsupportedOp && error.message().contains(name), "{error}");
    }
}
