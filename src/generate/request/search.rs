use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::Limits;
use crate::invalid::Invalid;
use crate::names::{CollectionName, DocumentId};
use crate::neighbours::{Effort, Filter, SearchOptions};

/// Most documents that a search may leave out.
const MAX_EXCLUDED: usize = 1000;

/// A search as clients ask for it, in whatever request that is.
#[derive(Clone, Debug, Default)]
pub struct SearchRequest {
    pub neighbours: Option<usize>,
    pub collection: Option<String>,
    pub max_distance: Option<f32>,
    pub filter: Option<FilterRequest>,
    pub exclude_documents: Option<Vec<String>>,
    pub distinct: Option<bool>,
    pub as_of: Option<u64>,
    pub effort: Effort,
}

/// A filter as clients write it.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct FilterRequest(pub Value);

impl SearchRequest {
    /// `prefix` stands before the names of the fields in errors.
    ///
    /// # Errors
    /// [`Invalid`] names the field and its limit.
    pub fn validate(self, prefix: &str, limits: &Limits) -> Result<SearchOptions, Invalid> {
        let field = |name: &str| format!("{prefix}{name}");
        let neighbours = self.neighbours.unwrap_or(limits.neighbours);
        if neighbours > limits.max_neighbours {
            let message = format!("must be 0 to {}, is {neighbours}", limits.max_neighbours);
            return Err(Invalid::new(field("neighbours"), message));
        }
        let collection = match self.collection {
            None => CollectionName::default(),
            Some(name) => CollectionName::parse(&field("collection"), &name)?,
        };
        if let Some(given) = self.max_distance.filter(|given| !(0.0..=4.0).contains(given)) {
            let message = format!("must be 0 to 4 (squared distance of normalised vectors), is {given}");
            return Err(Invalid::new(field("max_distance"), message));
        }
        let excluded = self.exclude_documents.unwrap_or_default();
        if excluded.len() > MAX_EXCLUDED {
            let message = format!("may have at most {MAX_EXCLUDED} ids, has {}", excluded.len());
            return Err(Invalid::new(field("exclude_documents"), message));
        }
        let ids = excluded.iter().enumerate();
        let ids = ids.map(|(at, id)| DocumentId::parse(&field(&format!("exclude_documents[{at}]")), id));
        Ok(SearchOptions {
            max_distance: self.max_distance,
            filter: self.filter.map(|FilterRequest(json)| Filter::parse(&field("filter"), &json)).transpose()?,
            exclude_documents: ids.collect::<Result<_, _>>()?,
            distinct: self.distinct.unwrap_or(true),
            as_of: self.as_of,
            effort: self.effort.validate(prefix)?,
            ..SearchOptions::new(collection, neighbours)
        })
    }
}

impl ToSchema for FilterRequest {
    fn name() -> std::borrow::Cow<'static, str> {
        "Filter".into()
    }
}

/// The language by its grammar. Which keys go with which operator is for `docs/filters.md` and the errors to say.
impl PartialSchema for FilterRequest {
    fn schema() -> RefOr<Schema> {
        let filter = || Ref::from_schema_name(Self::name());
        let list = || ArrayBuilder::new().items(filter()).min_items(Some(1));
        let object = || ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)));
        let text = || ObjectBuilder::new().schema_type(Type::String);
        let scalar = |types: &[Type]| ObjectBuilder::new().schema_type(SchemaType::Array(types.to_vec()));
        let any = [Type::String, Type::Number, Type::Boolean];
        let bound = |words: &str| scalar(&[Type::String, Type::Number]).description(Some(words));
        let names = ArrayBuilder::new().items(text());
        let values = ArrayBuilder::new().items(scalar(&any)).max_items(Some(Filter::MAX_VALUES));
        let field =
            "`document_id`, `title`, `source`, or a name in the metadata, `metadata.lang` or `lang`; dots lead into objects";
        let path = "In place of `field`, for names that hold dots: `[\"metadata\", \"a.b\"]`";
        let value = "For every `op` but `in`, `not_in` and `range`; true for `exists`, if left out";
        let condition = object()
            .description(Some("One condition, on a document's id, title or source or on its metadata"))
            .property("field", text().description(Some(field)))
            .property("path", names.description(Some(path)))
            .property("op", text().enum_values(Some(Filter::OPERATORS)))
            .required("op")
            .property("value", scalar(&any).description(Some(value)))
            .property("values", values.description(Some("For `in` and `not_in`")))
            .property("gt", bound("For `range`: more than this"))
            .property("gte", bound("For `range`: this or more"))
            .property("lt", bound("For `range`: less than this"))
            .property("lte", bound("For `range`: this or less"));
        let schema = OneOfBuilder::new()
            .description(Some(
                "Which documents' chunks may be neighbours: a condition, or conditions put together with `and`, `or` and `not`",
            ))
            .item(condition)
            .item(object().description(Some("All of them hold")).property("and", list()).required("and"))
            .item(object().description(Some("At least one of them holds")).property("or", list()).required("or"))
            .item(object().description(Some("It does not hold")).property("not", filter()).required("not"))
            .examples([serde_json::json!({"field": "lang", "op": "eq", "value": "en"})]);
        RefOr::T(Schema::OneOf(schema.build()))
    }
}
