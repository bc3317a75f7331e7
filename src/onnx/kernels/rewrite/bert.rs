//! BERT's graph, as `scripts/build_embedder.py` builds it.

use std::collections::{HashMap, HashSet};

use prost::Message;
use prost::bytes::Bytes;

use super::{DOMAIN, FLOAT};
use crate::onnx::format::{Attribute, Graph, Initializer, Model, Node, Value};
use crate::onnx::kernels::linear::Matrix;

/// Puts products in integers and our attention in the place of Gemm, Gelu and Attention. Gives the matrices by their numbers; none where
/// the graph has no such nodes.
///
/// # Arguments
/// * `serves` - whether the attention serves heads of such a size.
///
/// # Errors
/// A part of the graph is no ONNX.
pub(in crate::onnx::kernels) fn in_integers(
    model: &mut Model,
    serves: fn(head: usize) -> bool,
) -> Result<Vec<Matrix>, prost::DecodeError> {
    let Some(graph) = &mut model.graph else { return Ok(Vec::new()) };
    let nodes = graph.node.iter().map(|node| Node::decode(node.clone())).collect::<Result<Vec<_>, _>>()?;
    let mut weights = Weights::of(graph, &nodes)?;
    let mut followed: HashSet<&str> = HashSet::new();
    let mut rewritten: Vec<Node> = Vec::with_capacity(nodes.len());
    for node in &nodes {
        if node.is("Gelu") && followed.contains(node.input[0].as_str()) {
            continue;
        }
        if let Some([product, attention]) = attention(node, &mut weights, serves) {
            rewritten.extend([product, attention]);
        } else if let Some(mut product) = gemm(node, &mut weights) {
            let alone = weights.uses.get(&node.output[0]) == Some(&1);
            let gelu = nodes.iter().find(|gelu| alone && gelu.is("Gelu") && gelu.input == node.output);
            if let Some(gelu) = gelu {
                followed.insert(&node.output[0]);
                product.output.clone_from(&gelu.output);
                product.attribute.push(Attribute::integer("gelu", 1));
            }
            rewritten.push(product);
        } else {
            rewritten.push(node.clone());
        }
    }
    let Weights { matrices, taken, .. } = weights;
    if !matrices.is_empty() {
        graph.node = rewritten.iter().map(|node| node.encode_to_vec().into()).collect();
        let mut number = 0..;
        graph.initializer.retain(|_| !taken.contains(&number.next().expect("it has no end")));
        model.import_ours();
    }
    Ok(matrices)
}

/// The graph's constants, and what was made of them.
struct Weights {
    named: HashMap<String, (usize, Initializer)>,
    /// How often each name is read, by nodes or as an output of the graph.
    uses: HashMap<String, usize>,
    matrices: Vec<Matrix>,
    /// Numbers of the initializers that the graph needs no longer.
    taken: HashSet<usize>,
}

impl Weights {
    fn of(graph: &Graph, nodes: &[Node]) -> Result<Self, prost::DecodeError> {
        let decode = |(number, bytes): (usize, &Bytes)| {
            Initializer::decode(bytes.clone()).map(|initializer| (initializer.name.clone(), (number, initializer)))
        };
        let named = graph.initializer.iter().enumerate().map(decode).collect::<Result<_, _>>()?;
        let outputs = graph.output.iter().map(|output| Value::decode(output.clone())).collect::<Result<Vec<_>, _>>()?;
        let mut uses = HashMap::new();
        for name in nodes.iter().flat_map(|node| &node.input).chain(outputs.iter().map(|output| &output.name)) {
            *uses.entry(name.clone()).or_insert(0) += 1;
        }
        Ok(Self { named, uses, matrices: Vec::new(), taken: HashSet::new() })
    }

    /// The shape of a matrix in float32 that lies in the graph's own file.
    fn shape(&self, name: &str) -> Option<(usize, usize)> {
        let (_, matrix) = self.named.get(name)?;
        let &[inputs, outputs] = matrix.shape.as_slice() else { return None };
        let (inputs, outputs) = (usize::try_from(inputs).ok()?, usize::try_from(outputs).ok()?);
        let inside = matrix.element == FLOAT && !matrix.raw.is_empty() && matrix.raw.len() == 4 * inputs * outputs;
        inside.then_some((inputs, outputs))
    }

    /// A node that multiplies with the matrix of this name.
    fn product(&mut self, input: &str, matrix: &str, plus: &str, output: String) -> Option<Node> {
        let (inputs, outputs) = self.shape(matrix)?;
        let (number, initializer) = &self.named[matrix];
        let of_product = self.matrices.len();
        self.matrices.push(Matrix::pack(&initializer.raw, inputs, outputs));
        if self.uses[matrix] == 1 {
            self.taken.insert(*number);
        }
        Some(Node {
            input: vec![input.to_owned(), plus.to_owned()],
            name: output.clone(),
            output: vec![output],
            op_type: "Linear".to_owned(),
            attribute: vec![Attribute::integer("matrix", of_product as i64)],
            domain: DOMAIN.to_owned(),
        })
    }
}

fn gemm(node: &Node, weights: &mut Weights) -> Option<Node> {
    let plain = node.domain.is_empty() && node.op_type == "Gemm" && node.attribute.is_empty();
    match node.input.as_slice() {
        [input, matrix, plus] if plain => weights.product(input, matrix, plus, node.output[0].clone()),
        _ => None,
    }
}

/// A product that gives queries, keys and values, and what attends with them.
fn attention(node: &Node, weights: &mut Weights, serves: fn(head: usize) -> bool) -> Option<[Node; 2]> {
    let [input, matrix, bias, mask] = node.input.as_slice() else { return None };
    let heads = usize::try_from(node.integer("num_heads")?).ok().filter(|&heads| heads > 0)?;
    let (_, outputs) = weights.shape(matrix)?;
    let plain = node.is("Attention") && node.output.len() == 1 && node.says_only(&["num_heads"]);
    if !plain || !outputs.is_multiple_of(3 * heads) || !serves(outputs / 3 / heads) {
        return None;
    }
    let packed = format!("{}.packed", node.output[0]);
    let product = weights.product(input, matrix, bias, packed.clone())?;
    let attention = Node {
        input: vec![packed, mask.clone()],
        output: node.output.clone(),
        name: node.output[0].clone(),
        op_type: "TextAttention".to_owned(),
        attribute: vec![Attribute::integer("num_heads", heads as i64)],
        domain: DOMAIN.to_owned(),
    };
    Some([product, attention])
}
