//! Conditions on the text of a column as functions that LanceDB calls for the rows that it scans.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow_array::{Array, BooleanArray, StringArray};
use arrow_schema::DataType;
use lancedb::datafusion::error::{DataFusionError, Result};
use lancedb::datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use lancedb::expr::{DfExpr, col, is_in, lit};

/// Most texts that DataFusion compares by itself: it takes longer over the plan than over the rows where there are more.
const FEW: usize = 16;

/// What is asked of each text. DataFusion takes calls for the same if their predicates are equal.
pub(super) trait Predicate: Debug + Eq + Hash + Send + Sync + 'static {
    const NAME: &'static str;

    /// # Errors
    /// What is wrong with the text.
    fn accepts(&self, text: &str) -> std::result::Result<bool, String>;
}

/// The rows where `predicate` accepts the text in `column`.
pub(super) fn call(predicate: impl Predicate, column: &str) -> DfExpr {
    let signature = Signature::exact(vec![DataType::Utf8], Volatility::Immutable);
    ScalarUDF::new_from_impl(Function { predicate, signature }).call(vec![col(column)])
}

/// The rows where the text in `column` is one of `texts`.
pub(in crate::neighbours) fn one_of(column: &str, texts: &BTreeSet<String>) -> DfExpr {
    if texts.len() > FEW {
        return call(OneOf(texts.clone()), column);
    }
    is_in(col(column), texts.iter().map(|text| lit(text.as_str())).collect())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OneOf(BTreeSet<String>);

impl Predicate for OneOf {
    const NAME: &'static str = "is_one_of";

    fn accepts(&self, text: &str) -> std::result::Result<bool, String> {
        Ok(self.0.contains(text))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function<P> {
    predicate: P,
    signature: Signature,
}

impl<P: Predicate> ScalarUDFImpl for Function<P> {
    fn name(&self) -> &str {
        P::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let failed = |reason: String| DataFusionError::Execution(format!("{} cannot read a row: {reason}", P::NAME));
        let column = args.args.first().ok_or_else(|| failed("no column is given".to_owned()))?.to_array(args.number_rows)?;
        let texts: &StringArray =
            column.as_any().downcast_ref().ok_or_else(|| failed(format!("its type is {}", column.data_type())))?;
        // The chunks of a document lie side by side and have the same title, source and metadata.
        let mut last: Option<(&str, bool)> = None;
        let mut accepted = Vec::with_capacity(texts.len());
        for text in texts {
            let text = text.ok_or_else(|| failed("its text is null".to_owned()))?;
            let is_accepted = match last {
                Some((same, is_accepted)) if same == text => is_accepted,
                _ => self.predicate.accepts(text).map_err(failed)?,
            };
            last = Some((text, is_accepted));
            accepted.push(is_accepted);
        }
        Ok(ColumnarValue::Array(Arc::new(BooleanArray::from(accepted))))
    }
}
