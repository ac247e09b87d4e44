//! What a scalar means, as Go's yaml.v2 resolves it (resolve.go), and what a key's text becomes.

use granit_parser::Tag;
use serde_json::{Number, Value};

use super::float;
use crate::policy::canonical::whole;

/// What a scalar resolves to.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::policy::manifest) enum Scalar {
    Null,
    Bool(bool),
    Integer(i64),
    /// Beyond what `Integer` holds.
    Large(u64),
    Float(f64),
    Text(String),
}

impl Scalar {
    /// What a plain scalar without a tag means.
    pub(super) fn plain(text: &str) -> Self {
        match text.as_bytes().first() {
            None => Some(Self::Null),
            Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~') => word(text),
            Some(b'.') => dotted(text),
            Some(b'0'..=b'9' | b'+' | b'-') => number(text),
            Some(_) => None,
        }
        .unwrap_or_else(|| Self::Text(text.to_owned()))
    }

    /// What a scalar with a tag means; none where kubectl refuses it, or where nobody needs it.
    pub(super) fn tagged(text: &str, tag: &Tag) -> Option<Self> {
        let core = tag.suffix_in_namespace("tag:yaml.org,2002:");
        match core.as_deref() {
            Some(expected @ ("null" | "bool" | "int" | "float")) => {
                Some(Self::plain(text)).filter(|found| found.is_a(expected))
            }
            // Bytes and points in time are text in Kubernetes: no object of it needs these.
            Some("binary" | "timestamp" | "merge") => None,
            // Text for kubectl too, whatever else the tag says.
            _ => Some(Self::Text(text.to_owned())),
        }
    }

    fn is_a(&self, tag: &str) -> bool {
        match self {
            Self::Null => tag == "null",
            Self::Bool(_) => tag == "bool",
            Self::Integer(_) => tag == "int" || tag == "float",
            Self::Large(_) => tag == "int",
            Self::Float(_) => tag == "float",
            Self::Text(_) => false,
        }
    }

    /// The text that a key becomes; none where kubectl refuses such a key.
    pub(super) fn into_key(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(value) => Some(value.to_string()),
            Self::Integer(number) => Some(number.to_string()),
            Self::Float(number) => Some(float::key(number)),
            Self::Null | Self::Large(_) => None,
        }
    }

    /// Whether JSON has such a value: it has no infinity.
    pub(super) fn is_json(&self) -> bool {
        !matches!(self, Self::Float(number) if !number.is_finite())
    }

    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Integer(number) => Value::from(number),
            Self::Large(number) => Value::from(number),
            Self::Float(number) => Number::from_f64(number).map_or(Value::Null, |mut number| {
                whole(&mut number);
                Value::Number(number)
            }),
            Self::Text(text) => Value::String(text),
        }
    }
}

fn word(text: &str) -> Option<Scalar> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(Scalar::Bool(true)),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(Scalar::Bool(false))
        }
        "~" | "null" | "Null" | "NULL" => Some(Scalar::Null),
        _ => None,
    }
}

fn dotted(text: &str) -> Option<Scalar> {
    infinite(text).or_else(|| grouped(text)).map(Scalar::Float)
}

/// A number whose digits may be grouped by `_`; only between digits, as Go's `strconv.ParseFloat` has it.
fn grouped(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let is_digit = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
    let is_between = |(index, _): (usize, &str)| index > 0 && is_digit(index - 1) && is_digit(index + 1);
    text.match_indices('_')
        .all(is_between)
        .then(|| finite(&text.replace('_', "")))
        .flatten()
}

fn infinite(text: &str) -> Option<f64> {
    match text {
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// A decimal number, with a point or an exponent or neither; one that is too large is text.
fn finite(text: &str) -> Option<f64> {
    let is_decimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
    let number: f64 = text.bytes().all(is_decimal).then(|| text.parse().ok()).flatten()?;
    number.is_finite().then_some(number)
}

fn number(text: &str) -> Option<Scalar> {
    if let Some(number) = infinite(text) {
        return Some(Scalar::Float(number));
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| finite(&digits).map(Scalar::Float))
}

/// Go's `strconv.ParseInt` and `ParseUint` with base 0.
fn integer(text: &str) -> Option<Scalar> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let bytes = unsigned.as_bytes();
    let (base, skipped) = match bytes {
        [b'0', b'x' | b'X', ..] => (16, 2),
        [b'0', b'o' | b'O', ..] => (8, 2),
        [b'0', b'b' | b'B', ..] => (2, 2),
        [b'0', _, ..] => (8, 1),
        _ => (10, 0),
    };
    let digits = unsigned.get(skipped..)?;
    // Rust's own parser would take a second sign.
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    match i64::from_str_radix(&format!("{sign}{digits}"), base) {
        Ok(number) => Some(Scalar::Integer(number)),
        Err(_) if text == unsigned => u64::from_str_radix(digits, base).ok().map(Scalar::Large),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Scalar::{Bool, Float, Integer, Large, Null};
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        let cases = [
            ("010", Integer(8)),
            ("0o10", Integer(8)),
            ("0x_1F", Integer(31)),
            ("-0b11", Integer(-3)),
            ("1_000", Integer(1000)),
            ("08", Float(8.0)),
            ("1e3", Float(1000.0)),
            (".5", Float(0.5)),
            (".2_5", Float(0.25)),
            ("1.", Float(1.0)),
            ("18446744073709551615", Large(u64::MAX)),
            ("18446744073709551616", Float(18_446_744_073_709_551_616.0)),
            ("yes", Bool(true)),
            ("Off", Bool(false)),
            ("~", Null),
            ("", Null),
        ];
        for (text, expected) in cases {
            assert_eq!(Scalar::plain(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_nearly_a_number_or_a_word_is_text() {
        for text in [
            "yEs",
            "1e400",
            "0x",
            "0b2",
            "+",
            "-",
            ".",
            "1.2.3",
            "._5",
            ".5_",
            "0x1.8p1",
            "1:30",
            "infinity",
            ".infinity",
            "2001-01-01",
            "+-1",
            "--1",
            "0x-1",
            "tRue",
            "١",
        ] {
            assert_eq!(Scalar::plain(text), Scalar::Text(text.to_owned()), "{text}");
        }
    }
}
