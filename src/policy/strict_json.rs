//! JSON read without leniency: an object that names a member twice is an error, not the last one. A number that is
//! whole is read as such: Kubernetes' clients send `80.0` as `80`. A text of a few bytes a value must not become many
//! times its size in memory, so that the number of values is bounded.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::canonical::whole;

/// How many values one text may hold, those inside of others included: far more than any API server stores in an object.
const MOST_VALUES: usize = 500_000;

/// Reads one value; nothing but space may follow it.
pub(crate) fn from_str(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).map(|StrictValue(value)| value)
}

/// Reads any value, refusing repeated members, and more values than are left.
#[derive(Clone, Copy)]
struct Strict<'l> {
    left: &'l Cell<usize>,
}

/// A value read so.
pub(crate) struct StrictValue(pub(crate) Value);

impl<'de> serde::Deserialize<'de> for StrictValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let left = Cell::new(MOST_VALUES);
        Strict { left: &left }.deserialize(deserializer).map(Self)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left
            .set(left.ok_or_else(|| D::Error::custom(format_args!("more than {MOST_VALUES} values")))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let mut number = Number::from_f64(value).ok_or_else(|| E::custom("a number that JSON cannot write"))?;
        whole(&mut number);
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if members.contains_key(&name) {
                return Err(A::Error::custom(format_args!("the member \"{name}\" is there twice")));
            }
            let value = access.next_value_seed(self)?;
            members.insert(name, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::from_str;
    use serde_json::json;

    #[test]
    fn a_repeated_member_is_refused_at_any_depth() {
        assert!(from_str(r#"{"a": [{"b": 1, "b": 1}]}"#).is_err());
        assert_eq!(from_str(r#"{"a": [{"b": 1}]}"#).ok(), Some(json!({"a": [{"b": 1}]})));
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let list = |items: usize| format!("[{}0]", "0,".repeat(items - 1));
        assert!(from_str(&list(super::MOST_VALUES - 1)).is_ok());
        assert!(from_str(&list(super::MOST_VALUES)).is_err());
    }

    #[test]
    fn nothing_may_follow_the_value() {
        assert!(from_str("{} {}").is_err());
        assert!(from_str("{} ").is_ok());
    }
}
