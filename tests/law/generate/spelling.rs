//! An object as YAML, in one of its many spellings: block or flow, any order of keys, any quotes, numbers with or
//! without fraction and exponent; or as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::dice::Dice;

pub(super) fn spell(object: &Value, dice: &mut Dice) -> String {
    if dice.chance(10) {
        return object.to_string();
    }
    let mut text = String::new();
    if let Value::Object(members) = object {
        block(members, 0, dice, &mut text);
    }
    text
}

fn block(members: &Map<String, Value>, indent: usize, dice: &mut Dice, text: &mut String) {
    for (name, value) in shuffled(members, dice) {
        let _ = write!(text, "{}{}:", " ".repeat(indent), scalar(name, dice));
        below(value, indent, dice, text);
    }
}

/// A value after its key or dash.
fn below(value: &Value, indent: usize, dice: &mut Dice, text: &mut String) {
    let flows = dice.chance(15);
    match value {
        Value::Object(members) if !members.is_empty() && !flows => {
            text.push('\n');
            block(members, indent + 2, dice, text);
        }
        Value::Array(items) if !items.is_empty() && !flows => {
            text.push('\n');
            // A list may stand as deep as its key.
            let indent = if dice.chance(50) { indent } else { indent + 2 };
            for item in items {
                let _ = write!(text, "{}-", " ".repeat(indent));
                below(item, indent + 1, dice, text);
            }
        }
        Value::Null if dice.chance(40) => text.push('\n'),
        value => {
            let _ = writeln!(text, " {}", flow(value, dice));
        }
    }
}

fn flow(value: &Value, dice: &mut Dice) -> String {
    match value {
        Value::Null => dice.pick(&["null", "~", "Null"]).to_owned(),
        Value::Bool(value) => dice
            .pick(if *value { &["true", "True"] } else { &["false", "FALSE"] })
            .to_owned(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) if dice.chance(10) && (1..1000).contains(&whole) => format!("0x{whole:x}"),
            Some(whole) if dice.chance(10) && (1..1000).contains(&whole) => format!("{whole}.0"),
            Some(whole) if dice.chance(5) && whole > 0 && whole % 100 == 0 => format!("{}e2", whole / 100),
            _ => number.to_string(),
        },
        Value::String(string) => scalar(string, dice),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| flow(item, dice)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(members) => {
            let mut parts = Vec::new();
            for (name, value) in shuffled(members, dice) {
                parts.push(format!("{}: {}", scalar(name, dice), flow(value, dice)));
            }
            format!("{{{}}}", parts.join(", "))
        }
    }
}

/// A string, without quotes only where no reader takes it for anything else.
fn scalar(string: &str, dice: &mut Dice) -> String {
    let is_plain = string.len() > 1
        && string.starts_with(|c: char| c.is_ascii_alphabetic())
        && string.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !matches!(
            string.to_ascii_lowercase().as_str(),
            "null" | "true" | "false" | "yes" | "no" | "on" | "off"
        );
    let is_one_line = !string.contains(|c: char| c.is_control());
    match dice.below(3) {
        0 if is_plain => string.to_owned(),
        1 if is_one_line => format!("'{}'", string.replace('\'', "''")),
        // JSON's escapes are YAML's.
        _ => Value::from(string).to_string(),
    }
}

fn shuffled<'a>(members: &'a Map<String, Value>, dice: &mut Dice) -> Vec<(&'a String, &'a Value)> {
    let mut members: Vec<_> = members.iter().collect();
    dice.shuffle(&mut members);
    members
}
