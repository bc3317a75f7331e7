//! Graphs with some of their nodes replaced. A model folder keeps the operators of ONNX Runtime, so that anything can run it.

use prost::Message;

use crate::onnx::format::{Attribute, Model, Node, OpsetImport, Value};

/// Operators of this module, in the domain that the rewritten graph imports.
pub(super) const DOMAIN: &str = "retro.cpu";
const MICROSOFT: &str = "com.microsoft";
/// `TensorProto.DataType.FLOAT` of onnx.proto.
const FLOAT: i32 = 1;
/// `AttributeProto.AttributeType.INT`.
const INT: i32 = 2;

impl Node {
    fn is(&self, operator: &str) -> bool {
        self.domain == MICROSOFT && self.op_type == operator
    }

    fn integer(&self, name: &str) -> Option<i64> {
        self.attribute.iter().find(|attribute| attribute.name == name)?.i
    }

    /// Whether it says nothing beyond these attributes.
    fn says_only(&self, names: &[&str]) -> bool {
        self.attribute.iter().all(|attribute| names.contains(&attribute.name.as_str()))
    }

    /// The same with an operator of ours, these inputs and these attributes.
    fn replaced(&self, operator: &str, inputs: &[usize], attributes: &[&str]) -> Self {
        Self {
            input: inputs.iter().map(|&at| self.input[at].clone()).collect(),
            output: self.output.clone(),
            name: self.name.clone(),
            op_type: operator.to_owned(),
            attribute: self.attribute.iter().filter(|a| attributes.contains(&a.name.as_str())).cloned().collect(),
            domain: DOMAIN.to_owned(),
        }
    }
}

/// What the operators can compute with.
pub(super) struct Served {
    pub product: fn(block: usize) -> bool,
    pub attention: fn(head: usize) -> bool,
}

/// Puts the operators of this module into a graph where they can serve; false where they cannot.
///
/// # Errors
/// A node is no ONNX.
pub(super) fn rewrite(model: &mut Model, served: &Served) -> Result<bool, prost::DecodeError> {
    let Some(graph) = &mut model.graph else { return Ok(false) };
    let inputs = graph.input.iter().map(|input| Value::decode(input.clone())).collect::<Result<Vec<_>, _>>()?;
    let (mut products, mut attentions) = (0, Vec::new());
    for bytes in &mut graph.node {
        let node = Node::decode(bytes.clone())?;
        if let Some(replaced) = product(&node, served) {
            *bytes = replaced.encode_to_vec().into();
            products += 1;
        } else if let Some(replaced) = attention(&node, &inputs, served) {
            attentions.push((bytes, replaced));
        }
    }
    let rewritten = products > 0 || !attentions.is_empty();
    for (bytes, mut node) in attentions {
        // What comes out of products with 8-bit activations has no more digits than float16 keeps.
        let half =
            Attribute { name: "half".to_owned(), i: Some(i64::from(products > 0)), kind: Some(INT), ..Attribute::default() };
        node.attribute.push(half);
        *bytes = node.encode_to_vec().into();
    }
    if rewritten {
        model.opset_import.push(OpsetImport { domain: DOMAIN.to_owned(), version: 1 });
    }
    Ok(rewritten)
}

fn product(node: &Node, served: &Served) -> Option<Node> {
    let plain = node.is("MatMulNBits")
        && node.input.len() == 3
        && node.integer("bits").unwrap_or(4) == 8
        // The model's makers agree to activations in 8 bits.
        && node.integer("accuracy_level") == Some(4)
        && node.says_only(&["N", "K", "bits", "block_size", "accuracy_level"]);
    let block = usize::try_from(node.integer("block_size")?).ok()?;
    (plain && (served.product)(block)).then(|| node.replaced("Product", &[0, 1, 2], &["N", "K", "block_size"]))
}

/// Packed queries, keys and values with rotary angles, onto a cache in float32.
fn attention(node: &Node, inputs: &[Value], served: &Served) -> Option<Node> {
    let zero = |name: &str| node.integer(name).unwrap_or(0) == 0;
    let plain = node.is("GroupQueryAttention")
        && node.input.len() == 9
        && node.input[1].is_empty()
        && node.input[2].is_empty()
        && node.output.len() == 3
        && node.integer("do_rotary") == Some(1)
        && zero("rotary_interleaved")
        && node.says_only(&["num_heads", "kv_num_heads", "do_rotary", "rotary_interleaved"]);
    if !plain {
        return None;
    }
    let cache = inputs.iter().find(|input| input.name == node.input[3])?.kind.as_ref()?.tensor.as_ref()?;
    let head = usize::try_from(cache.shape.as_ref()?.dimension.get(3)?.size?).ok()?;
    (cache.element == FLOAT && (served.attention)(head))
        .then(|| node.replaced("Attention", &[0, 3, 4, 5, 7, 8], &["num_heads", "kv_num_heads"]))
}
