//! A decoder's graph, which runs a step at a time.

use prost::Message;

use super::FLOAT;
use crate::onnx::format::{Attribute, Model, Node, Value};

/// What the operators can compute with.
pub(in crate::onnx::kernels) struct Served {
    pub product: fn(block: usize) -> bool,
    pub attention: fn(head: usize) -> bool,
}

/// Puts products with 8-bit matrices and cached attention into a graph where they can serve; false where they cannot.
///
/// # Errors
/// A node is no ONNX.
pub(in crate::onnx::kernels) fn steps(model: &mut Model, served: &Served) -> Result<bool, prost::DecodeError> {
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
        node.attribute.push(Attribute::integer("half", i64::from(products > 0)));
        *bytes = node.encode_to_vec().into();
    }
    if rewritten {
        model.import_ours();
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
