//! JSON Schema, as much of it as the description uses, with one rule more: an object has no field that its schema does not name.
//!
//! The crates for JSON Schema switch features of dependencies on that the database has as well, so that tests would compile it a second time.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Keywords that say nothing of what is valid here: words, or rules of inputs, which the server checks itself.
const WITHOUT_RULE: &[&str] = &[
    "description",
    "example",
    "examples",
    "title",
    "default",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "maxProperties",
    "propertyNames",
    "$ref",
    "additionalProperties",
    "required",
    "deprecated",
];

pub struct Schemas<'a>(&'a Map<String, Value>);

/// Names of the fields of an object that are spoken for.
enum Known {
    All,
    These(BTreeSet<String>),
}

impl Known {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::These(mut these), Self::These(those)) => {
                these.extend(those);
                Self::These(these)
            }
            _ => Self::All,
        }
    }
}

impl<'a> Schemas<'a> {
    pub fn of(document: &'a Value) -> Self {
        Self(document["components"]["schemas"].as_object().unwrap())
    }

    /// # Errors
    /// What is wrong, with the place.
    pub fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let known = self.part(schema, value)?;
        match (value.as_object(), known) {
            (Some(object), Known::These(these)) => match object.keys().find(|name| !these.contains(*name)) {
                Some(name) => Err(format!("the field {name} is not described")),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Whether the value keeps the rules of a schema that may be one of several for it, and the fields that are spoken for.
    fn part(&self, schema: &Value, value: &Value) -> Result<Known, String> {
        let schema = schema.as_object().ok_or("a schema is no object")?;
        let mut known = match schema.get("$ref") {
            Some(target) => self.part(self.named(target.as_str().unwrap()).1, value)?,
            None => Known::These(BTreeSet::new()),
        };
        for (keyword, rule) in schema {
            known = match keyword.as_str() {
                "allOf" => {
                    let mut all = known;
                    for part in list(rule) {
                        all = all.and(self.part(part, value)?);
                    }
                    all
                }
                "anyOf" | "oneOf" => {
                    let (fitting, wrong): (Vec<_>, Vec<_>) =
                        list(rule).iter().map(|part| self.part(part, value)).partition(Result::is_ok);
                    if fitting.is_empty() || keyword == "oneOf" && fitting.len() > 1 {
                        let reasons: Vec<String> = wrong.into_iter().filter_map(Result::err).collect();
                        return Err(format!("{} of {keyword} fit ({})", fitting.len(), reasons.join("; ")));
                    }
                    fitting.into_iter().filter_map(Result::ok).fold(known, Known::and)
                }
                "type" => {
                    let types = rule.as_array().map_or_else(|| vec![rule], |types| types.iter().collect());
                    if !types.iter().any(|one| has_type(one.as_str().unwrap(), value)) {
                        return Err(format!("{value} is not of type {rule}"));
                    }
                    known
                }
                "enum" => {
                    if !list(rule).contains(value) {
                        return Err(format!("{value} is none of {rule}"));
                    }
                    known
                }
                "minimum" | "maximum" => {
                    let within = |value: f64| {
                        let limit = rule.as_f64().unwrap();
                        if keyword == "minimum" { value >= limit } else { value <= limit }
                    };
                    if !value.as_f64().is_none_or(within) {
                        return Err(format!("{value} breaks {keyword} {rule}"));
                    }
                    known
                }
                "items" => {
                    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, item).map_err(|wrong| format!("[{place}]: {wrong}"))?;
                    }
                    known
                }
                "minItems" | "maxItems" => {
                    let (length, limit) = (value.as_array().map(Vec::len), rule.as_u64().unwrap() as usize);
                    if length.is_some_and(|length| if keyword == "minItems" { length < limit } else { length > limit }) {
                        return Err(format!("a list breaks {keyword} {rule}"));
                    }
                    known
                }
                "properties" => {
                    let properties = rule.as_object().unwrap();
                    for (name, property) in properties {
                        if let Some(value) = value.get(name) {
                            self.check(property, value).map_err(|wrong| format!("{name}: {wrong}"))?;
                        }
                    }
                    known.and(Known::These(properties.keys().cloned().collect()))
                }
                other if WITHOUT_RULE.contains(&other) || other.starts_with("x-") => known,
                other => return Err(format!("{other} is no keyword that the tests know")),
            };
        }
        let Some(object) = value.as_object() else { return Ok(known) };
        let required = schema.get("required").map(list).unwrap_or_default();
        if let Some(missing) = required.iter().find(|name| !object.contains_key(name.as_str().unwrap())) {
            return Err(format!("{missing} is missing"));
        }
        match (schema.get("additionalProperties"), schema.get("properties")) {
            (Some(Value::Bool(false)), _) => Ok(known),
            (Some(Value::Bool(true)), _) => Ok(Known::All),
            (Some(more @ Value::Object(_)), properties) => {
                for (name, value) in object.iter().filter(|(name, _)| properties.is_none_or(|named| named.get(name).is_none())) {
                    self.check(more, value).map_err(|wrong| format!("{name}: {wrong}"))?;
                }
                Ok(Known::All)
            }
            // Any object.
            (None, None) if schema.get("type").is_some_and(|kind| kind.to_string().contains("object")) => Ok(Known::All),
            _ => Ok(known),
        }
    }

    /// Names the fields that a value has, by the schema that describes each: `Schema.field`.
    pub fn fields_in(&self, at: &str, schema: &Value, value: &Value, name: &mut impl FnMut(String)) {
        self.walk(at, schema, Some(value), &mut BTreeSet::new(), name);
    }

    /// The same for all fields that there can be.
    pub fn fields(&self, at: &str, schema: &Value, name: &mut impl FnMut(String)) {
        self.walk(at, schema, None, &mut BTreeSet::new(), name);
    }

    /// `open` are the named schemas that are being walked where there is no value, which would end the walk.
    fn walk(&self, at: &str, schema: &Value, value: Option<&Value>, open: &mut BTreeSet<String>, name: &mut impl FnMut(String)) {
        if let Some(target) = schema["$ref"].as_str() {
            let (target, schema) = self.named(target);
            if value.is_some() {
                self.walk(target, schema, value, open, name);
            } else if open.insert(target.to_owned()) {
                self.walk(target, schema, None, open, name);
            }
        }
        for part in ["allOf", "anyOf", "oneOf"].iter().flat_map(|keyword| schema[keyword].as_array().into_iter().flatten()) {
            self.walk(at, part, value, open, name);
        }
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let inner = match value {
                Some(value) if value.get(field).is_none() => continue,
                Some(value) => value.get(field),
                None => None,
            };
            let place = format!("{at}.{field}");
            name(place.clone());
            self.walk(&place, property, inner, open, name);
        }
        for inner in
            ["items", "additionalProperties"].iter().filter_map(|keyword| schema.get(keyword)).filter(|inner| inner.is_object())
        {
            match value {
                None => self.walk(at, inner, None, open, name),
                Some(Value::Array(items)) => items.iter().for_each(|item| self.walk(at, inner, Some(item), open, name)),
                Some(Value::Object(fields)) => fields.values().for_each(|field| self.walk(at, inner, Some(field), open, name)),
                Some(_) => {}
            }
        }
    }

    /// Name and content of what a reference leads to.
    fn named<'b>(&self, reference: &'b str) -> (&'b str, &'a Value) {
        let name = reference.strip_prefix("#/components/schemas/").expect("schemas are components");
        (name, self.0.get(name).unwrap_or_else(|| panic!("there is no schema {name}")))
    }
}

fn list(rule: &Value) -> &[Value] {
    rule.as_array().expect("a list")
}

fn has_type(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}
