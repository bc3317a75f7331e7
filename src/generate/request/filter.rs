//! A filter as clients write it, and the language by its grammar.

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::openapi::schema::{
    AdditionalProperties, AllOfBuilder, AnyOfBuilder, ArrayBuilder, ObjectBuilder, OneOfBuilder, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::neighbours::Filter;
use crate::schemas;

/// Checked where it is used.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct FilterRequest(pub Value);

impl ToSchema for FilterRequest {
    fn name() -> std::borrow::Cow<'static, str> {
        "Filter".into()
    }
}

/// What is not said: how deep and how large a filter may be, that a side of a range has one bound, and that its bounds have one type.
impl PartialSchema for FilterRequest {
    fn schema() -> RefOr<Schema> {
        let filter = || Ref::from_schema_name(Self::name());
        let parts = || ArrayBuilder::new().items(filter()).min_items(Some(1));
        let conditions = OneOfBuilder::new()
            .item(operator(&["eq", "ne"]).property("value", scalar(ANY)).required("value"))
            .item(operator(&["lt", "le", "gt", "ge"]).property("value", scalar(ORDERED)).required("value"))
            .item(operator(&["in", "not_in"]).property("values", values()).required("values"))
            .item(range())
            .item(operator(&["prefix"]).property("value", text()).required("value"))
            .item(operator(&["exists"]).property("value", ObjectBuilder::new().schema_type(Type::Boolean)));
        let names_one = |name: &str| ObjectBuilder::new().required(name);
        let subject = OneOfBuilder::new().item(names_one("field")).item(names_one("path"));
        let condition = AllOfBuilder::new()
            .description(Some("One condition, on a document's id, title or source or on its metadata"))
            .item(subject)
            .item(conditions);
        let schema = OneOfBuilder::new()
            .description(Some(
                "Which documents' chunks may be neighbours: a condition, or conditions put together with `and`, `or` and `not`",
            ))
            .item(condition)
            .item(object().description(Some("All of them hold")).property("and", parts()).required("and"))
            .item(object().description(Some("At least one of them holds")).property("or", parts()).required("or"))
            .item(object().description(Some("It does not hold")).property("not", filter()).required("not"))
            .examples([json!({"field": "lang", "op": "eq", "value": "en"})]);
        RefOr::T(Schema::OneOf(schema.build()))
    }
}

const ANY: &[Type] = &[Type::String, Type::Number, Type::Boolean];
const ORDERED: &[Type] = &[Type::String, Type::Number];

fn object() -> ObjectBuilder {
    ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn text() -> ObjectBuilder {
    schemas::text(0..=Filter::MAX_TEXT)
}

fn scalar(types: &[Type]) -> ObjectBuilder {
    text().schema_type(SchemaType::Array(types.to_vec()))
}

fn values() -> ArrayBuilder {
    schemas::list(scalar(ANY), 0..=Filter::MAX_VALUES)
}

/// A condition with one of these operators, without what the operator takes.
fn operator(names: &[&str]) -> ObjectBuilder {
    let field = text()
        .pattern(Some(format!(r"^(?!metadata$)(metadata\.)?[^.]+(\.[^.]+){{0,{}}}$", Filter::MAX_PATH - 1)))
        .description(Some(
            "`document_id`, `title`, `source`, or a name in the metadata, `metadata.lang` or `lang`; dots lead into objects",
        ));
    object()
        .property("field", field)
        .property("path", path())
        .property("op", ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names.iter().copied())))
        .required("op")
}

fn path() -> AnyOfBuilder {
    let one_of = |names: &[&str]| ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names.iter().copied()));
    let column = schemas::list(one_of(&["document_id", "title", "source"]), 1..=1);
    let in_metadata = schemas::list(text(), 2..=Filter::MAX_PATH + 1).prefix_items([one_of(&["metadata"])]);
    AnyOfBuilder::new()
        .description(Some("In place of `field`, for names that hold dots: `[\"metadata\", \"a.b\"]`"))
        .item(column)
        .item(in_metadata)
}

fn range() -> AllOfBuilder {
    let bound = |words: &str| scalar(ORDERED).description(Some(words));
    let bounds = operator(&["range"])
        .property("gt", bound("More than this"))
        .property("gte", bound("This or more; not beside `gt`"))
        .property("lt", bound("Less than this"))
        .property("lte", bound("This or less; not beside `lt`"));
    let has = |name: &str| ObjectBuilder::new().required(name);
    let one = ["gt", "gte", "lt", "lte"].into_iter().fold(AnyOfBuilder::new(), |any, name| any.item(has(name)));
    AllOfBuilder::new().item(bounds).item(one)
}
