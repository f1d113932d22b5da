//! An ONNX file of as many nodes as are asked for, of the kinds that exporters write: convolutions with what follows them,
//! functions spelt out, gates, shapes that are computed, and elements that are moved there and back.

/// Bytes of a file in the wire format of protocol buffers.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value as u64);
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }
}

const CHANNELS: usize = 8;

/// A graph on its way.
#[derive(Default)]
struct File {
    graph: Message,
    nodes: usize,
    values: usize,
}

impl File {
    fn add(&mut self, field: u64, message: Message) {
        self.graph = std::mem::take(&mut self.graph).bytes(field, &message.0);
    }

    fn initializer(&mut self, name: &str, dims: &[usize], element: i64, raw: Vec<u8>) {
        let tensor = dims.iter().fold(Message::default(), |tensor, n| tensor.int(1, *n as i64));
        self.add(5, tensor.int(2, element).text(8, name).bytes(9, &raw));
    }

    fn floats(&mut self, dims: &[usize], of: impl Fn(usize) -> f32) -> String {
        self.values += 1;
        let name = format!("c{}", self.values);
        let raw = (0..dims.iter().product()).flat_map(|i| of(i).to_le_bytes()).collect();
        self.initializer(&name, dims, 1, raw);
        name
    }

    fn ints(&mut self, dims: &[usize], values: &[i64]) -> String {
        self.values += 1;
        let name = format!("c{}", self.values);
        self.initializer(&name, dims, 7, values.iter().flat_map(|x| x.to_le_bytes()).collect());
        name
    }

    fn node(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, &[i64])]) -> String {
        self.values += 1;
        self.nodes += 1;
        let output = format!("v{}", self.values);
        let mut node = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
        node = node.text(2, &output).text(3, &format!("{op}_{}", self.nodes)).text(4, op);
        for (name, ints) in attributes {
            let attribute = Message::default().text(1, name);
            // `perm` and `pads` are lists, the others numbers.
            let attribute = match name {
                &"perm" | &"pads" => ints.iter().fold(attribute, |of, i| of.int(8, *i)).int(20, 7),
                _ => attribute.int(3, ints[0]).int(20, 2),
            };
            node = node.bytes(5, &attribute.0);
        }
        self.add(1, node);
        output
    }

    /// About two dozen nodes from `x`, an image, to another of its size.
    fn block(&mut self, x: &str) -> String {
        let each = |i: usize| ((i * 37 % 23) as f32 - 11.0) / 80.0;
        let w = self.floats(&[CHANNELS, CHANNELS, 3, 3], each);
        let y = self.node("Conv", &[x, &w], &[("pads", &[1; 4])]);
        let statistics: Vec<String> =
            (0..4).map(|i| self.floats(&[CHANNELS], |c| (i == 3 || c > 0) as u8 as f32)).collect();
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| statistics[i].as_str());
        let y = self.node("BatchNormalization", &[&y, a, b, c, d], &[]);
        let (zero, three, six) =
            (self.floats(&[], |_| 0.0), self.floats(&[1], |_| 3.0), self.floats(&[], |_| 6.0));
        let sum = self.node("Add", &[&y, &three], &[]);
        let clip = self.node("Clip", &[&sum, &zero, &six], &[]);
        let y = self.node("Mul", &[&y, &clip], &[]);
        let y = self.node("Div", &[&y, &six], &[]);
        let pooled = self.node("GlobalAveragePool", &[&y], &[]);
        let w = self.floats(&[CHANNELS, CHANNELS, 1, 1], each);
        let gate = self.node("Conv", &[&pooled, &w], &[]);
        let gate = self.node("Sigmoid", &[&gate], &[]);
        let y = self.node("Mul", &[&y, &gate], &[]);
        let shape = self.node("Shape", &[&y], &[]);
        let (first, at) = (self.ints(&[], &[0]), self.ints(&[1], &[0]));
        let batch = self.node("Gather", &[&shape, &first], &[("axis", &[0])]);
        let batch = self.node("Unsqueeze", &[&batch, &at], &[]);
        let rest = self.ints(&[2], &[CHANNELS as i64, -1]);
        let flat = self.node("Concat", &[&batch, &rest], &[("axis", &[0])]);
        let y = self.node("Reshape", &[&y, &flat], &[]);
        let y = self.node("Transpose", &[&y], &[("perm", &[0, 2, 1])]);
        let silu = self.node("Sigmoid", &[&y], &[]);
        let y = self.node("Mul", &[&silu, &y], &[]);
        let y = self.node("Transpose", &[&y], &[("perm", &[0, 2, 1])]);
        let y = self.node("Reshape", &[&y, &shape], &[]);
        let half = self.floats(&[1], |_| 0.5);
        let y = self.node("Mul", &[&y, &half], &[]);
        self.node("Add", &[x, &y], &[])
    }
}

/// The file of a network of at least `n_nodes` nodes, with an input `x [batch, 8, h, w]` and an output `y` like it.
pub fn network(n_nodes: usize) -> Vec<u8> {
    let mut file = File::default();
    let mut y = "x".to_string();
    while file.nodes + 1 < n_nodes {
        y = file.block(&y);
    }
    let dim = |name: &str| match name.parse() {
        Ok(n) => Message::default().int(1, n),
        Err(_) => Message::default().text(2, name),
    };
    let dims = ["batch", &CHANNELS.to_string(), "h", "w"];
    let shape = dims.iter().fold(Message::default(), |shape, name| shape.bytes(1, &dim(name).0));
    let tensor = Message::default().int(1, 1).bytes(2, &shape.0);
    let ty = Message::default().bytes(1, &tensor.0);
    file.add(11, Message::default().text(1, "x").bytes(2, &ty.0));
    let last = file.node("Relu", &[&y], &[]);
    file.add(12, Message::default().text(1, &last).bytes(2, &ty.0));
    let opset = Message::default().text(1, "").int(2, 17);
    Message::default().int(1, 8).bytes(7, &file.graph.0).bytes(8, &opset.0).0
}
