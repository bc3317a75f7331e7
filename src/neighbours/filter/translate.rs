use std::ops::{Bound, Not};

use lancedb::expr::{DfExpr, col, lit};

use super::function::{call, one_of};
use super::metadata::MetadataCondition;
use super::{Bounds, Column, Condition, Filter, Subject, Test, Tree, Values};
use crate::neighbours::schema::{DOCUMENT_ID, METADATA, SOURCE, TITLE};

impl Filter {
    /// The filter as an expression of the database. It is true or false for every row and never null, so `not` is the complement.
    pub(in crate::neighbours) fn to_expr(&self) -> DfExpr {
        expression(&self.0)
    }
}

/// What speaks of metadata alone is one call, so that the JSON of a row is read once.
fn expression(tree: &Tree<Condition>) -> DfExpr {
    if let Some(conditions) = only_metadata(tree) {
        return call(conditions, METADATA);
    }
    match tree {
        Tree::All(parts) => combined(parts, Tree::All, DfExpr::and, true),
        Tree::Any(parts) => combined(parts, Tree::Any, DfExpr::or, false),
        Tree::Not(part) => expression(part).not(),
        Tree::Leaf(Condition { subject: Subject::Column(column), test }) => of_column(*column, test),
        Tree::Leaf(Condition { subject: Subject::Metadata(path), test }) => {
            call(Tree::Leaf(MetadataCondition { path: path.clone(), test: test.clone() }), METADATA)
        }
    }
}

/// Columns come first, since they decide about a row without reading JSON.
fn combined(
    parts: &[Tree<Condition>],
    group: fn(Vec<Tree<MetadataCondition>>) -> Tree<MetadataCondition>,
    join: fn(DfExpr, DfExpr) -> DfExpr,
    of_none: bool,
) -> DfExpr {
    let (mut expressions, mut on_metadata) = (Vec::new(), Vec::new());
    for part in parts {
        match only_metadata(part) {
            Some(part) => on_metadata.push(part),
            None => expressions.push(expression(part)),
        }
    }
    if !on_metadata.is_empty() {
        expressions.push(call(group(on_metadata), METADATA));
    }
    joined(expressions, join).unwrap_or_else(|| lit(of_none))
}

/// As a balanced tree: whatever walks over expressions recurses, and a chain would be as deep as it is long.
fn joined(mut expressions: Vec<DfExpr>, join: fn(DfExpr, DfExpr) -> DfExpr) -> Option<DfExpr> {
    match expressions.len() {
        0 | 1 => expressions.pop(),
        length => {
            let right = joined(expressions.split_off(length / 2), join);
            let left = joined(expressions, join);
            left.into_iter().chain(right).reduce(join)
        }
    }
}

/// The same tree, if none of its conditions speaks of a column.
fn only_metadata(tree: &Tree<Condition>) -> Option<Tree<MetadataCondition>> {
    let all = |parts: &[Tree<Condition>]| parts.iter().map(only_metadata).collect::<Option<Vec<_>>>();
    match tree {
        Tree::All(parts) => all(parts).map(Tree::All),
        Tree::Any(parts) => all(parts).map(Tree::Any),
        Tree::Not(part) => only_metadata(part).map(|part| Tree::Not(Box::new(part))),
        Tree::Leaf(Condition { subject: Subject::Metadata(path), test }) => {
            Some(Tree::Leaf(MetadataCondition { path: path.clone(), test: test.clone() }))
        }
        Tree::Leaf(Condition { subject: Subject::Column(_), .. }) => None,
    }
}

fn of_column(column: Column, test: &Test) -> DfExpr {
    let name = match column {
        Column::DocumentId => DOCUMENT_ID,
        Column::Title => TITLE,
        Column::Source => SOURCE,
    };
    match test {
        // A document that came without a title has the empty one.
        Test::Exists => col(name).not_eq(lit("")),
        Test::OneOf(Values { texts, .. }) => one_of(name, texts),
        Test::Texts(Bounds { low, high }) => {
            let low = match low {
                Bound::Included(low) => Some(col(name).gt_eq(lit(low.as_str()))),
                Bound::Excluded(low) => Some(col(name).gt(lit(low.as_str()))),
                Bound::Unbounded => None,
            };
            let high = match high {
                Bound::Included(high) => Some(col(name).lt_eq(lit(high.as_str()))),
                Bound::Excluded(high) => Some(col(name).lt(lit(high.as_str()))),
                Bound::Unbounded => None,
            };
            low.into_iter().chain(high).reduce(DfExpr::and).unwrap_or_else(|| lit(true))
        }
        Test::Numbers(_) => lit(false),
    }
}
