//! One spelling for each meaning: what servers do to a value between the file and the store, undone by the kind's
//! structure. What the structure does not know stays as it is.

use serde_json::{Map, Number, Value};

use super::metadata::null_is_empty;
use crate::policy::structure::{Field, Items, Shape, field};

/// Which empty values a family's servers drop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Empties {
    /// Custom resources keep every value as it was written.
    Kept,
    /// Kubernetes' Go types drop empty lists and maps.
    Kubernetes,
    /// Calico's Go types drop empty strings and false as well.
    Calico,
}

/// Normalises the members of an object, and fills in what a server would.
pub(super) fn object(members: &mut Map<String, Value>, fields: &[Field], empties: Empties) {
    members.retain(|name, value| match field(fields, name) {
        Some(field) if !value.is_null() => {
            normalise(value, field.shape, empties);
            !is_absent(value, field, empties)
        }
        _ => {
            drop_nulls(value);
            !value.is_null()
        }
    });
    for field in fields {
        if let Some(default) = field.default
            && !members.contains_key(field.name)
        {
            members.insert(field.name.to_owned(), Value::String(default.to_owned()));
        }
    }
}

fn normalise(value: &mut Value, shape: &Shape, empties: Empties) {
    match (shape, value) {
        (Shape::Object(fields) | Shape::Open(fields), Value::Object(members)) => object(members, fields, empties),
        (Shape::List(items), Value::Array(list)) => normalise_items(list, items, empties),
        (Shape::StringMap, Value::Object(map)) if empties == Empties::Kept => map.retain(|_, value| !value.is_null()),
        (Shape::StringMap, Value::Object(map)) => null_is_empty(map),
        (Shape::Any, value) => drop_nulls(value),
        (Shape::CalicoPort, value @ Value::String(_)) => *value = port(value),
        (Shape::CalicoProtocol, value @ Value::String(_)) => *value = protocol(value),
        (Shape::Number, Value::Number(number)) => as_float(number),
        (_, Value::Number(number)) => whole(number),
        _ => {}
    }
}

fn normalise_items(list: &mut [Value], items: &Items, empties: Empties) {
    for item in list {
        if item.is_null() && items.null_is_empty {
            *item = Value::Object(Map::new());
        }
        normalise(item, items.shape, empties);
    }
}

fn is_absent(value: &Value, field: &Field, empties: Empties) -> bool {
    if empties == Empties::Kept || field.required {
        return false;
    }
    match (field.shape, value) {
        (Shape::List(_), Value::Array(list)) => list.is_empty(),
        (Shape::StringMap, Value::Object(map)) => map.is_empty(),
        (Shape::Object(_), Value::Object(map)) => field.empty_is_absent && map.is_empty(),
        (Shape::Text | Shape::Word(_), Value::String(text)) => empties == Empties::Calico && text.is_empty(),
        (Shape::Boolean, Value::Bool(false)) => empties == Empties::Calico,
        _ => false,
    }
}

/// In custom resources, null is absent wherever the schema does not say otherwise. The depth was checked before.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Number(number) => whole(number),
        _ => {}
    }
}

/// `100.0` is `100`, to every server. Beyond 2⁵³ a float is no exact count any more and stays one.
pub(crate) fn whole(number: &mut Number) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.is_f64()
        && let Some(float) = number.as_f64()
        && float.fract() == 0.0
        && float.abs() <= EXACT
    {
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and within 2^53")]
        let integer = float as i64;
        *number = Number::from(integer);
    }
}

/// A number that servers hold as a float: beyond 2⁵³ they round it.
fn as_float(number: &mut Number) {
    let is_exact = number.as_i64().is_some_and(|whole| whole.unsigned_abs() <= 1 << 53);
    if let Some(float) = number.as_f64().filter(|_| !is_exact).and_then(Number::from_f64) {
        *number = float;
        whole(number);
    }
}

/// Calico's `numorstring.Port` (api/pkg/lib/numorstring/port.go): `"80"`, `"0080"` and `"80:80"` are 80, ranges and
/// names stay.
fn port(value: &Value) -> Value {
    let text = value.as_str().unwrap_or_default();
    let number = |text: &str| digits(text, u64::from(u16::MAX));
    match text.split_once(':') {
        None => number(text).map_or_else(|| value.clone(), Value::from),
        Some((first, last)) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first == last => Value::from(first),
            (Some(first), Some(last)) => Value::from(format!("{first}:{last}")),
            _ => value.clone(),
        },
    }
}

/// Calico's `numorstring.Protocol`: a string of digits up to 255 is the number.
fn protocol(value: &Value) -> Value {
    let text = value.as_str().unwrap_or_default();
    digits(text, u64::from(u8::MAX)).map_or_else(|| value.clone(), Value::from)
}

fn digits(text: &str, most: u64) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten()?;
    (number <= most).then_some(number)
}
