//! Kinds that the configuration names: everything but status and bookkeeping, as it was written; nothing is filled in.

use serde_json::{Map, Value};

use super::spelling;
use crate::policy::kind::{Kind, is_built_in};

/// Nulls are absent. The API server's own kinds are stored in a form that knows no empty lists.
pub(super) fn normalise(kind: Kind, members: &mut Map<String, Value>) {
    members.retain(|_, value| !value.is_null());
    members.values_mut().for_each(spelling::drop_nulls);
    if is_built_in(kind.definition().group) {
        drop_empty_lists(members);
    }
}

/// The depth was checked before.
fn drop_empty_lists(members: &mut Map<String, Value>) {
    members.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty));
    members.values_mut().for_each(in_value);
}

fn in_value(value: &mut Value) {
    match value {
        Value::Object(members) => drop_empty_lists(members),
        Value::Array(items) => items.iter_mut().for_each(in_value),
        _ => {}
    }
}
