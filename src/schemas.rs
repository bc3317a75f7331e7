//! Parts of the schemas by which the API's description says what an input has to be.

use std::ops::RangeInclusive;

use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

/// Text of more than white space and without a NUL. White space is what `str::trim` takes for it, spelled out, since the dialects of regular expressions
/// do not agree on `\s`.
pub const PROSE: &str = r"^[^\u0000]*[^\u0000\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\u0000]*$";
/// Text without a NUL.
pub const NO_NUL: &str = r"^[^\u0000]*$";

/// A text of so many characters.
pub fn text(characters: RangeInclusive<usize>) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(*characters.start())).max_length(Some(*characters.end()))
}

/// A text of at least one character.
pub fn some_text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(1))
}

/// An object of whatever fields: one that says nothing of other fields is taken for one that has none by some who make clients of it.
pub fn any_object() -> ObjectBuilder {
    ObjectBuilder::new().additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true)))
}

/// A list of so many of these.
pub fn list(items: impl Into<RefOr<Schema>>, length: RangeInclusive<usize>) -> ArrayBuilder {
    ArrayBuilder::new().items(items.into()).min_items(Some(*length.start())).max_items(Some(*length.end()))
}
