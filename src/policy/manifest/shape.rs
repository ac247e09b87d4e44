//! Checks a value against the structure of its kind: what a server would refuse, or drop without a word.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::findings::Findings;
use crate::policy::structure::{Field, Items, Shape, field};

/// Checks the members of an object, whose fields are described in one table or several; `open` where others are fine.
pub(super) fn check_members<'a>(
    members: &'a Map<String, Value>,
    tables: &[&'static [Field]],
    open: bool,
    findings: &mut Findings<'a>,
) {
    for (name, value) in members {
        match tables.iter().find_map(|fields| field(fields, name)) {
            // Null is absent to every server, but for the values of string maps.
            Some(_) if value.is_null() => {}
            Some(field) => findings.member(name, |findings| check(value, field.shape, findings)),
            None if open => findings.member(name, |findings| {
                let names: Vec<&str> = tables.iter().copied().flatten().map(|field| field.name).collect();
                if let Some(meant) = nearest(name, &names).filter(|meant| !members.contains_key(*meant)) {
                    findings.warning(format!(
                        "did you mean `{meant}`? Servers drop fields that they do not know"
                    ));
                }
            }),
            None => findings.member(name, |findings| findings.error(unknown(name, tables))),
        }
    }
    let absent = |field: &&Field| field.required && members.get(field.name).is_none_or(Value::is_null);
    // A server fills in what has a default before it looks for what is required.
    let fields = tables.iter().copied().flatten();
    for field in fields.filter(|field| field.default.is_none()).filter(absent) {
        findings.error(format!(
            "`{}` is missing: an API server refuses the object without it",
            field.name
        ));
    }
}

fn unknown(name: &str, tables: &[&'static [Field]]) -> String {
    let names: Vec<&str> = tables.iter().copied().flatten().map(|field| field.name).collect();
    let advice = match nearest(name, &names) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("the fields here are {}", listed(&names)),
    };
    format!("`{name}` is no field of this object, and an API server would drop it without a word: {advice}")
}

fn check<'a>(value: &'a Value, shape: &'static Shape, findings: &mut Findings<'a>) {
    match (shape, value) {
        (Shape::Any, _)
        | (Shape::Boolean, Value::Bool(_))
        | (Shape::Number, Value::Number(_))
        | (Shape::Text | Shape::IntegerOrText | Shape::CalicoPort | Shape::CalicoProtocol, Value::String(_)) => {}
        (Shape::Object(fields), Value::Object(members)) => check_members(members, &[fields], false, findings),
        (Shape::Open(fields), Value::Object(members)) => check_members(members, &[fields], true, findings),
        (Shape::List(items), Value::Array(list)) => check_items(list, items, findings),
        (Shape::StringMap, Value::Object(map)) => check_strings(map, findings),
        (Shape::Word(words), Value::String(text)) => check_word(text, words, findings),
        (Shape::Integer(least, most), Value::Number(number)) => match number.as_i64() {
            Some(number) if (*least..=*most).contains(&number) => {}
            _ => findings.error(format!(
                "{number} is out of range: write a whole number from {least} to {most}"
            )),
        },
        (Shape::OneOf(numbers), Value::Number(number)) => {
            if !number.as_i64().is_some_and(|number| numbers.contains(&number)) {
                findings.error(format!("{number} is not one of {numbers:?}"));
            }
        }
        (Shape::IntegerOrText | Shape::CalicoPort | Shape::CalicoProtocol, Value::Number(number)) => {
            if !number.is_i64() && !number.is_u64() {
                findings.error(format!("{number} is not a whole number"));
            }
        }
        _ => findings.error(wrong_type(shape, value)),
    }
}

fn wrong_type(shape: &Shape, value: &Value) -> String {
    let (expected, found) = (expected(shape), found(value));
    let advice = match (shape, value) {
        (Shape::Text | Shape::Word(_), Value::Number(number)) => format!(": write it in quotes, as \"{number}\""),
        (Shape::Text | Shape::Word(_), Value::Bool(_)) => ": write it in quotes".to_owned(),
        _ => String::new(),
    };
    format!("expected {expected}, found {found}{advice}")
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Object(_) | Shape::Open(_) => "an object",
        Shape::List(_) => "a list",
        Shape::StringMap => "an object whose values are text",
        Shape::Text | Shape::Word(_) => "text",
        Shape::Boolean => "true or false",
        Shape::Integer(..) | Shape::OneOf(_) => "a whole number",
        Shape::Number => "a number",
        Shape::IntegerOrText | Shape::CalicoPort | Shape::CalicoProtocol => "a whole number or text",
        Shape::Any => "any value",
    }
}

/// What a value is, in plain words.
pub(super) fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn check_items<'a>(list: &'a [Value], items: &'static Items, findings: &mut Findings<'a>) {
    if list.len() < items.least {
        let least = items.least;
        findings.error(format!("the list needs at least {least}, or leave the field out"));
    }
    if list.len() > items.most {
        findings.error(format!(
            "the list has {} items, at most {} are allowed",
            list.len(),
            items.most
        ));
    }
    let mut seen = HashSet::new();
    for (index, item) in list.iter().enumerate() {
        findings.item(index, |findings| {
            if item.is_null() && items.null_is_empty {
                findings.warning("nothing here is read as `{}`, which matches everything: write `{}` if that is meant");
            } else {
                check(item, items.shape, findings);
            }
            if items.distinct && !seen.insert(item.to_string()) {
                findings.error(format!("{item} is in the list twice: remove one"));
            }
        });
    }
}

/// Null makes two objects of one file: servers read it as the empty string in metadata, where `kubectl apply` drops it
/// before it sends anything, and drop it elsewhere.
fn check_strings<'a>(map: &'a Map<String, Value>, findings: &mut Findings<'a>) {
    for (name, value) in map.iter().filter(|(_, value)| !value.is_string()) {
        findings.member(name, |findings| match value {
            Value::Null => {
                findings.error(
                    "null is read as \"\" by some servers and dropped by others, or by kubectl: write \"\", or remove it",
                );
            }
            _ => findings.error(wrong_type(&Shape::Text, value)),
        });
    }
}

fn check_word(text: &str, words: &[&str], findings: &mut Findings<'_>) {
    if words.contains(&text) {
        return;
    }
    let advice = match nearest(text, words) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("write one of {}", listed(words)),
    };
    findings.error(format!("\"{}\" is not allowed here: {advice}", short(text)));
}

fn listed(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The known name that was meant: the same in another case, or two slips away at most.
pub(super) fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    if let Some(same) = known.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        return Some(same);
    }
    let distant = |known: &&str| slips(name, known);
    let (slips, meant) = known.iter().map(|known| (distant(known), *known)).min()?;
    (slips <= 2 && slips * 2 < meant.len()).then_some(meant)
}

/// The Levenshtein distance, where it can be small.
fn slips(one: &str, two: &str) -> usize {
    if one.len().abs_diff(two.len()) > 2 || one.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(two.bytes()) {
            let replaced = diagonal + usize::from(a != b);
            diagonal = *cell;
            left = replaced.min(diagonal + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}
