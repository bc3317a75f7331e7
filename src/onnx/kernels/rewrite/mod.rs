//! Graphs with some of their nodes replaced. A model folder keeps the operators of ONNX Runtime, so that anything can run it.

mod bert;
mod decoder;

use crate::onnx::format::{Attribute, Model, Node, OpsetImport};

pub(super) use bert::in_integers;
pub(super) use decoder::{Served, steps};

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

impl Attribute {
    fn integer(name: &str, value: i64) -> Self {
        Self { name: name.to_owned(), i: Some(value), kind: Some(INT), ..Self::default() }
    }
}

impl Model {
    /// Lets its graph use the operators of this module.
    fn import_ours(&mut self) {
        self.opset_import.push(OpsetImport { domain: DOMAIN.to_owned(), version: 1 });
    }
}
