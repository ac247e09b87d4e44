//! What a document is: a list, a guarded object, one that means to be, or something else.

use serde_json::{Map, Value};

use super::findings::Findings;
use super::shape::nearest;
use crate::policy::kind::{Family, Kind, api_version};

/// The items of a list, as kubectl expands it: anything that has a kind, and `items`. An item that says neither its kind
/// nor its group leaves both to the list.
pub(super) fn take_items(members: &mut Map<String, Value>) -> Option<Vec<Value>> {
    let (api_version, kind) = (text(members, "apiVersion").to_owned(), text(members, "kind").to_owned());
    if kind.is_empty() || Kind::of_manifest(&api_version, &kind).is_some() {
        return None;
    }
    let mut items = match members.get_mut("items") {
        Some(Value::Array(items)) => std::mem::take(items),
        Some(Value::Null) => Vec::new(),
        _ => return None,
    };
    let item_kind = kind.strip_suffix("List").unwrap_or(&kind);
    for item in items.iter_mut().filter_map(Value::as_object_mut) {
        if !item_kind.is_empty() && text(item, "kind").is_empty() && text(item, "apiVersion").is_empty() {
            item.insert("kind".to_owned(), Value::from(item_kind));
            item.insert("apiVersion".to_owned(), Value::from(api_version.as_str()));
        }
    }
    Some(items)
}

/// The guarded kind an object is of. An object that only nearly is of one is worse than none: it looks like a policy in
/// Git and is none in the cluster.
pub(super) fn guarded_kind<'a>(members: &'a Map<String, Value>, findings: &mut Findings<'a>) -> Option<Kind> {
    let (written, kind) = (text(members, "apiVersion"), text(members, "kind"));
    let known = Kind::of_manifest(written, kind);
    if known.is_some() {
        return known;
    }
    let is_named = || {
        members
            .get("metadata")
            .is_some_and(|metadata| metadata.get("name").is_some())
    };
    if written.is_empty() && kind.is_empty() && members.contains_key("spec") && is_named() {
        findings.error("`apiVersion` and `kind` are missing: an API server refuses the object without them");
        return None;
    }
    let group = written.rsplit_once('/').map(|(group, _)| group);
    if let Some(group) = group {
        check_kind(group, kind, findings);
    }
    let namesakes: Vec<Kind> = Kind::all().filter(|known| known.definition().kind == kind).collect();
    if !namesakes.is_empty() {
        let meant: Vec<String> = namesakes.iter().flat_map(|kind| served(*kind)).collect();
        findings.member("apiVersion", |findings| match group {
            None => findings.error(format!(
                "\"{written}\" serves no {kind}: write one of {}",
                meant.join(", ")
            )),
            Some(_) => findings.warning(format!(
                "{kind} of {written} is not guarded: if a policy is meant, write one of {}",
                meant.join(", ")
            )),
        });
    }
    None
}

/// A guarded group with a kind that is nearly one of its own, or none.
fn check_kind(group: &str, kind: &str, findings: &mut Findings<'_>) {
    let kinds: Vec<&str> = Kind::all()
        // A group of which the configuration names some kinds has others, and those may have names much alike.
        .filter(|known| known.is_served_by(group) && known.definition().family != Family::Generic)
        .map(|known| known.definition().kind)
        .collect();
    if kinds.is_empty() {
        return;
    }
    if kind.is_empty() {
        findings.error("`kind` is missing: an API server refuses the object without it");
    } else if let Some(meant) = nearest(kind, &kinds) {
        findings.member("kind", |findings| {
            findings.error(format!("{group} serves no kind {kind}: did you mean {meant}?"));
        });
    }
}

fn served(kind: Kind) -> impl Iterator<Item = String> {
    let groups = kind.definition().served.iter();
    groups.map(|(group, version)| api_version(group, version))
}

/// `apiVersion` and `kind` as written, for people.
pub(super) fn described(members: &Map<String, Value>) -> String {
    match (text(members, "apiVersion"), text(members, "kind")) {
        ("", "") => "an object without apiVersion and kind".to_owned(),
        (api_version, "") => format!("{api_version}, without a kind"),
        ("", kind) => format!("{kind}, without an apiVersion"),
        (api_version, kind) => format!("{api_version} {kind}"),
    }
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> &'a str {
    members.get(name).and_then(Value::as_str).unwrap_or_default()
}
