//! Every small change of a JSON value.

pub mod exceptions;

use serde_json::{Value, json};

/// One change.
#[derive(Debug)]
pub struct Mutation {
    /// Where, by member names and indices.
    pub path: Vec<String>,
    pub how: How,
    /// What stood there before; null where something was added.
    pub before: Value,
    /// The whole value afterwards.
    pub after: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// A leaf has another value.
    Changed,
    /// A member or an item is gone.
    Dropped,
    /// An object has a member more, or a list an item.
    Added,
    /// Two items have changed places.
    Swapped,
}

impl Mutation {
    /// `spec.ingress.0.ports`.
    pub fn place(&self) -> String {
        self.path.join(".")
    }
}

/// Every change of a value, one at a time.
pub fn all(whole: &Value) -> Vec<Mutation> {
    let mut found = Vec::new();
    walk(whole, whole, &[], &mut found);
    found
}

fn walk(whole: &Value, value: &Value, path: &[String], found: &mut Vec<Mutation>) {
    let mut push = |path: &[String], how: How, before: &Value, after: Value| {
        found.push(Mutation {
            path: path.to_vec(),
            how,
            before: before.clone(),
            after: with(whole.clone(), path, after, how),
        });
    };
    match value {
        Value::Object(members) => {
            push(&below(path, "addedByTheTest"), How::Added, &Value::Null, json!("x"));
            for (name, member) in members {
                push(&below(path, name), How::Dropped, member, Value::Null);
            }
        }
        Value::Array(items) => {
            let next = below(path, &items.len().to_string());
            push(
                &next,
                How::Added,
                &Value::Null,
                items.last().cloned().unwrap_or_else(|| json!({})),
            );
            for (index, item) in items.iter().enumerate() {
                push(&below(path, &index.to_string()), How::Dropped, item, Value::Null);
            }
            if let Some(index) = items.windows(2).position(|pair| pair[0] != pair[1]) {
                let mut swapped = items.clone();
                swapped.swap(index, index + 1);
                push(path, How::Swapped, value, swapped.into());
            }
        }
        Value::Null => push(path, How::Changed, value, json!("x")),
        Value::Bool(flag) => push(path, How::Changed, value, json!(!flag)),
        Value::Number(number) => push(
            path,
            How::Changed,
            value,
            json!(number.as_f64().unwrap_or_default() / 2.0 + 1.25),
        ),
        Value::String(text) => push(path, How::Changed, value, json!(format!("{text}x"))),
    }
    // Deep, bookkeeping to the last leaf, and most of what an object holds.
    if path.last().is_some_and(|name| name == "managedFields") {
        return;
    }
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(name, member)| walk(whole, member, &below(path, name), found)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(whole, item, &below(path, &index.to_string()), found);
            }
        }
        _ => {}
    }
}

fn below(path: &[String], name: &str) -> Vec<String> {
    [path, &[name.to_owned()]].concat()
}

/// The value with one place changed.
fn with(mut value: Value, path: &[String], new: Value, how: How) -> Value {
    let Some((name, rest)) = path.split_first() else {
        return new;
    };
    match &mut value {
        Value::Object(members) if rest.is_empty() && how == How::Dropped => {
            members.remove(name);
        }
        Value::Object(members) => {
            let member = members.remove(name).unwrap_or_default();
            members.insert(name.clone(), with(member, rest, new, how));
        }
        Value::Array(items) => {
            let index: usize = name.parse().unwrap_or_default();
            if rest.is_empty() && how == How::Dropped {
                items.remove(index);
            } else if index == items.len() {
                items.push(new);
            } else {
                items[index] = with(items[index].take(), rest, new, how);
            }
        }
        _ => {}
    }
    value
}
