//! Structs from JSON objects alone. serde takes a list as well, for the fields in their order, which nobody means who writes one.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// For `deserialize_with`: a struct.
///
/// # Errors
/// It is no object, or one that is no `T`.
pub fn one<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(one)| one)
}

/// For `deserialize_with`: a struct, or null.
///
/// # Errors
/// As [`one`].
pub fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::<Object<T>>::deserialize(deserializer).map(|found| found.map(|Object(one)| one))
}

/// For `deserialize_with`: a list of structs.
///
/// # Errors
/// As [`one`], or it is no list.
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Vec::<Object<T>>::deserialize(deserializer).map(structs)
}

/// For `deserialize_with`: a list of structs, or null.
///
/// # Errors
/// As [`list`].
pub fn optional_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    Option::<Vec<Object<T>>>::deserialize(deserializer).map(|found| found.map(structs))
}

fn structs<T>(objects: Vec<Object<T>>) -> Vec<T> {
    objects.into_iter().map(|Object(one)| one).collect()
}

struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        number: u8,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Outer {
        #[serde(deserialize_with = "super::one")]
        one: Inner,
        #[serde(default, deserialize_with = "super::optional")]
        optional: Option<Inner>,
        #[serde(default, deserialize_with = "super::list")]
        list: Vec<Inner>,
        #[serde(default, deserialize_with = "super::optional_list")]
        optional_list: Option<Vec<Inner>>,
    }

    #[test]
    fn a_list_is_no_object_at_any_place() {
        let good = json!({"one": {"number": 1}, "optional": null, "list": [{"number": 2}], "optional_list": [{"number": 3}]});
        let read: Outer = serde_json::from_value(good.clone()).unwrap();
        assert_eq!(read.one.number + read.list[0].number + read.optional_list.unwrap()[0].number, 6);
        for (place, bad) in [
            ("one", json!([1])),
            ("optional", json!([1])),
            ("list", json!([[1]])),
            ("optional_list", json!([[1]])),
            ("one", json!({"number": 1, "more": 2})),
        ] {
            let mut body = good.clone();
            body[place] = bad;
            assert!(serde_json::from_value::<Outer>(body.clone()).is_err(), "{body}");
        }
    }
}
