//! RFC 8785 JSON of a value, as bytes for a hash. `serde_json_canonicalizer` writes the same bytes for anything that can
//! be serialised, four times as slowly: it buffers and sorts each object, which a `Value` has sorted already.

use serde_json::{Map, Number, Value};

/// Appends the value's text.
pub(super) fn write(value: &Value, text: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    match value {
        Value::Null => text.extend_from_slice(b"null"),
        Value::Bool(true) => text.extend_from_slice(b"true"),
        Value::Bool(false) => text.extend_from_slice(b"false"),
        Value::Number(number) => return write_number(number, text),
        Value::String(string) => return write_string(string, text),
        Value::Array(items) => {
            text.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(b',');
                }
                write(item, text)?;
            }
            text.push(b']');
        }
        Value::Object(members) => return write_object(members, text),
    }
    Ok(())
}

fn write_object(members: &Map<String, Value>, text: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    text.push(b'{');
    if members.keys().all(|name| name.is_ascii()) && members.keys().is_sorted() {
        write_members(members.iter(), text)?;
    } else {
        // The order of UTF-16 code units, which is that of the bytes for ASCII only.
        let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
        sorted.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
        write_members(sorted.into_iter(), text)?;
    }
    text.push(b'}');
    Ok(())
}

fn write_members<'a>(
    members: impl Iterator<Item = (&'a String, &'a Value)>,
    text: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    for (index, (name, value)) in members.enumerate() {
        if index > 0 {
            text.push(b',');
        }
        write_string(name, text)?;
        text.push(b':');
        write(value, text)?;
    }
    Ok(())
}

fn write_string(string: &str, text: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    if string.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        // The same escapes as RFC 8785 has.
        return serde_json::to_writer(text, string);
    }
    text.push(b'"');
    text.extend_from_slice(string.as_bytes());
    text.push(b'"');
    Ok(())
}

/// JavaScript's way to write a number, and whole ones digit by digit.
fn write_number(number: &Number, text: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    if number.is_f64() {
        serde_json_canonicalizer::to_writer(number, text)
    } else {
        // RFC 8785 would round what is beyond 2^53, and two numbers that servers keep apart would be one.
        serde_json::to_writer(text, number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Beyond it RFC 8785 rounds.
    const EXACT: i64 = 1 << 53;

    fn number() -> impl Strategy<Value = Value> {
        prop_oneof![
            (-EXACT..=EXACT).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            (-1000_i32..1000).prop_map(|number| Value::from(f64::from(number) / 8.0)),
            prop::sample::select(vec![json!(-0.0), json!(1e21), json!(1e-7)]),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[a-c\"\\\\\n\u{1}\u{7f}é\u{e000}\u{ffff}\u{10000}]{0,4}",
            any::<String>()
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number(),
            text.clone().prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn whole_numbers_that_a_float_cannot_tell_apart_are_told_apart() -> Result<(), serde_json::Error> {
        let text = |number: u64| {
            let mut text = Vec::new();
            write(&json!(number), &mut text).map(|()| text)
        };
        assert_eq!(text(u64::MAX)?, b"18446744073709551615");
        assert_ne!(text(1 << 53)?, text((1 << 53) + 1)?);
        Ok(())
    }

    proptest! {
        #[test]
        fn the_text_is_that_of_rfc_8785(value in value()) {
            let mut text = Vec::new();
            prop_assert!(write(&value, &mut text).is_ok());
            prop_assert_eq!(serde_json_canonicalizer::to_vec(&value).ok(), Some(text));
        }
    }
}
