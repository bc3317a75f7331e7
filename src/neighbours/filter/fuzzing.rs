//! Filters from bytes, compared with a plain reading of what they say and with the database's own evaluation.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use lancedb::datafusion::common::DFSchema;
use lancedb::datafusion::logical_expr::execution_props::ExecutionProps;
use lancedb::datafusion::physical_expr::create_physical_expr;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Fields, Filter, plain};
use crate::neighbours::schema::{DOCUMENT_ID, METADATA, SOURCE, TITLE};

#[derive(Deserialize)]
struct Case {
    filter: Value,
    #[serde(default)]
    document_id: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    source: String,
    #[serde(default)]
    metadata: Map<String, Value>,
}

/// A JSON object of a filter and what it looks at.
pub(crate) fn filter(bytes: &[u8]) {
    let Ok(case) = serde_json::from_slice::<Case>(bytes) else { return };
    let filter = match Filter::parse("filter", &case.filter) {
        Ok(filter) => filter,
        Err(invalid) => {
            assert!(invalid.to_string().len() <= 8 * bytes.len() + 4096, "{invalid}");
            return;
        }
    };
    // As the database holds it: a float may be another one after it was written and read.
    let metadata = serde_json::to_string(&case.metadata).expect("it came from JSON");
    let value: Value = serde_json::from_str(&metadata).expect("it was just written");
    let fields = Fields { document_id: &case.document_id, title: &case.title, source: &case.source, metadata: &metadata };
    let expected = plain::holds(&case.filter, &fields, &value);
    assert_eq!(filter.accepts(&fields).expect("it was just written"), expected, "{} on {metadata}", case.filter);
    assert_eq!(in_the_database(&filter, &fields), expected, "{} on {metadata}, by its expression", case.filter);
}

fn in_the_database(filter: &Filter, fields: &Fields<'_>) -> bool {
    let columns =
        [(DOCUMENT_ID, fields.document_id), (TITLE, fields.title), (SOURCE, fields.source), (METADATA, fields.metadata)];
    let schema = Arc::new(Schema::new(columns.map(|(name, _)| Field::new(name, DataType::Utf8, false)).to_vec()));
    let arrays = columns.map(|(_, text)| Arc::new(StringArray::from(vec![text])) as _).to_vec();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).expect("the columns are those of the schema");
    let schema = DFSchema::try_from(schema).expect("no name is there twice");
    let found = create_physical_expr(&filter.to_expr(), &schema, &ExecutionProps::new())
        .and_then(|expression| expression.evaluate(&batch))
        .and_then(|value| value.into_array(1))
        .unwrap_or_else(|error| panic!("the expression of {filter:?} fails: {error}"));
    found.as_any().downcast_ref::<BooleanArray>().expect("it is a condition").value(0)
}
