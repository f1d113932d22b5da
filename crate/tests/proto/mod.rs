//! The least of ONNX's protobuf, written by hand.

fn varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 128 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A field that is a message, or text, of these pieces.
pub fn part(number: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let mut out = Vec::new();
    varint(&mut out, usize::from(number) << 3 | 2);
    varint(&mut out, content.len());
    out.extend(content);
    out
}

/// A field that is a number.
pub fn int(number: u8, value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, usize::from(number) << 3);
    varint(&mut out, value);
    out
}

/// A node of one output, named as its operator.
pub fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|name| part(1, &[name.as_bytes()])).collect();
    let attributes: Vec<u8> = attributes.iter().flat_map(|attribute| part(5, &[attribute])).collect();
    part(
        1,
        &[
            &inputs,
            &part(2, &[output.as_bytes()]),
            &part(3, &[op.as_bytes()]),
            &part(4, &[op.as_bytes()]),
            &attributes,
        ],
    )
}

/// An input (field 11) or output (12) of an element type, `[n]` or a scalar.
pub fn port(number: u8, name: &str, ty: usize, n: Option<usize>) -> Vec<u8> {
    let dims = n.map_or(Vec::new(), |n| part(1, &[&int(1, n)]));
    let ty = part(1, &[&int(1, ty), &part(2, &[&dims])]);
    part(number, &[&part(1, &[name.as_bytes()]), &part(2, &[&ty])])
}

/// An attribute that is a graph.
pub fn graph(name: &str, content: &[Vec<u8>]) -> Vec<u8> {
    [part(1, &[name.as_bytes()]), part(6, &[&content.concat(), &part(2, &[b"body"])]), int(20, 5)].concat()
}
