//! Objects as Calico stores them in `crd.projectcalico.org/v1`: most of their metadata is in an annotation.
//!
//! What Calico makes of such an object is in `ConvertK8sResourceToCalicoResource`,
//! libcalico-go/lib/backend/k8s/resources/resources.go. The stored name, by release:
//!
//! | release | stored name | name in the annotation |
//! |---|---|---|
//! | to 3.28 | `default.` and the name | none |
//! | 3.29.0 to 3.29.3 | prefixed with the tier; v3 shows the prefixed name | none |
//! | 3.29.4 to 3.31 | `default.` and the name, where the name has no dot | the name, of the four tiered kinds |
//! | from 3.32 | the name | the name, of the four tiered kinds |
//!
//! Without a name in the annotation, a release later than 3.28 strips `default.` only if there is an annotation at all.
//! The names of 3.29.0 to 3.29.3 cannot be told from those of 3.28 and are read as the latter.

use serde_json::{Map, Value};

use super::Placement;
use super::calico::{self, METADATA_ANNOTATION};
use super::calico_uid;
use super::metadata::{Metadata, null_is_empty, owner_references};
use crate::policy::kind::{CALICO_CRD, CALICO_V3, Kind};
use crate::policy::strict_json;

/// Replaces the stored metadata with what Calico makes of it. An annotation that Calico could not read, or could read
/// otherwise than is done here, stays in place: such an object never equals a file.
pub(super) fn unpack(kind: Kind, metadata: &mut Metadata, members: &Map<String, Value>) -> Placement {
    let Some(annotation) = metadata.annotations.get(METADATA_ANNOTATION) else {
        return Placement::AsNamed;
    };
    let Some(packed) = annotation.as_str().and_then(Packed::read) else {
        return Placement::UnreadableMetadata;
    };
    metadata.annotations.remove(METADATA_ANNOTATION);
    let (name, placement) = match &packed.name {
        Some(name) => (name.clone(), placement(kind, name, &metadata.name)),
        None => (stripped(kind, &metadata.name, members).to_owned(), Placement::AsNamed),
    };
    metadata.name = name;
    metadata.labels.extend(packed.labels);
    metadata.annotations.extend(packed.annotations);
    metadata.finalizers.splice(0..0, packed.finalizers);
    metadata.owner_references.splice(0..0, packed.owner_references);
    metadata.terminating |= packed.terminating;
    placement
}

fn placement(kind: Kind, name: &str, stored: &str) -> Placement {
    let prefixed = || calico::is_tiered(kind) && !name.contains('.') && stored.strip_prefix("default.") == Some(name);
    if stored == name || prefixed() {
        Placement::AsNamed
    } else {
        Placement::Misplaced
    }
}

fn stripped<'a>(kind: Kind, stored: &'a str, members: &Map<String, Value>) -> &'a str {
    let tier = members
        .get("spec")
        .and_then(|spec| spec.get("tier"))
        .and_then(Value::as_str);
    let in_default = matches!(tier, None | Some("" | "default"));
    match stored.strip_prefix("default.") {
        Some(name) if calico::is_tiered(kind) && in_default && !name.is_empty() => name,
        _ => stored,
    }
}

/// What the annotation says, as far as it counts.
#[derive(Default)]
struct Packed {
    name: Option<String>,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    finalizers: Vec<Value>,
    owner_references: Vec<Value>,
    terminating: bool,
}

impl Packed {
    /// Reads the annotation as strictly as Calico ever writes it. Go's decoder ignores the case of names, merges
    /// repeated objects and fails on a wrong type (the object is then hidden): none of that may slip through here.
    fn read(text: &str) -> Option<Self> {
        let Value::Object(members) = strict_json::from_str(text).ok()? else {
            return None;
        };
        let mut packed = Self::default();
        for (name, value) in members {
            if !value.is_null() || !is_known(&name) {
                packed.take(&name, value)?;
            }
        }
        Some(packed)
    }

    fn take(&mut self, name: &str, value: Value) -> Option<()> {
        match (name, value) {
            ("name", Value::String(name)) => self.name = Some(name).filter(|name| !name.is_empty()),
            ("generateName" | "namespace" | "selfLink" | "uid" | "resourceVersion", Value::String(_)) => {}
            ("generation" | "deletionGracePeriodSeconds", Value::Number(number)) => return number.as_i64().map(|_| ()),
            ("creationTimestamp", Value::String(time)) => return is_time(&time).then_some(()),
            ("deletionTimestamp", Value::String(time)) => {
                self.terminating = true;
                return is_time(&time).then_some(());
            }
            ("labels", Value::Object(map)) => self.labels = strings(map)?,
            ("annotations", Value::Object(map)) => self.annotations = strings(map)?,
            ("finalizers", Value::Array(list)) if list.iter().all(Value::is_string) => self.finalizers = list,
            ("ownerReferences", Value::Array(list)) => self.owner_references = owners(list)?,
            ("managedFields", Value::Array(list)) => return list.iter().all(is_managed_fields).then_some(()),
            _ => return None,
        }
        Some(())
    }
}

fn is_known(name: &str) -> bool {
    matches!(
        name,
        "name"
            | "generateName"
            | "namespace"
            | "selfLink"
            | "uid"
            | "resourceVersion"
            | "generation"
            | "deletionGracePeriodSeconds"
            | "creationTimestamp"
            | "deletionTimestamp"
            | "labels"
            | "annotations"
            | "finalizers"
            | "ownerReferences"
            | "managedFields"
    )
}

fn strings(mut map: Map<String, Value>) -> Option<Map<String, Value>> {
    null_is_empty(&mut map);
    // An annotation inside the annotation is what a forger leaves behind when Calico packs it again.
    (map.values().all(Value::is_string) && !map.contains_key(METADATA_ANNOTATION)).then_some(map)
}

/// Calico names owners of its own kinds by their stored group and uid.
fn owners(list: Vec<Value>) -> Option<Vec<Value>> {
    let mut list = owner_references(list);
    for owner in &mut list {
        let members = owner.as_object_mut()?;
        let well_formed = members.iter().all(|(name, value)| match name.as_str() {
            "apiVersion" | "kind" | "name" | "uid" => value.is_string(),
            "controller" | "blockOwnerDeletion" => value.is_boolean(),
            _ => false,
        });
        if !well_formed {
            return None;
        }
        let group = members.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        if group == format!("{CALICO_CRD}/v1") || group == format!("{CALICO_V3}/v3") {
            let uid = calico_uid::convert(members.get("uid")?.as_str()?)?;
            members.insert("uid".to_owned(), Value::String(uid));
            members.insert("apiVersion".to_owned(), Value::String(format!("{CALICO_V3}/v3")));
        }
    }
    Some(list)
}

fn is_managed_fields(entry: &Value) -> bool {
    entry.as_object().is_some_and(|members| {
        members.iter().all(|(name, value)| match name.as_str() {
            "manager" | "operation" | "apiVersion" | "fieldsType" | "subresource" => value.is_string(),
            "time" => value.is_null() || value.as_str().is_some_and(is_time),
            "fieldsV1" => true,
            _ => false,
        })
    })
}

/// The times Go's RFC 3339 layout reads: `2026-11-23T16:27:00Z`, perhaps with a fraction or an offset.
fn is_time(text: &str) -> bool {
    let shape = |text: &str, pattern: &str| {
        text.len() == pattern.len()
            && text
                .bytes()
                .zip(pattern.bytes())
                .all(|(byte, expected)| match expected {
                    b'0' => byte.is_ascii_digit(),
                    _ => byte == expected,
                })
    };
    let Some((moment, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let zone_fits = zone == "Z" || shape(zone, "+00:00") || shape(zone, "-00:00");
    let leap_second = moment.ends_with(":60");
    shape(moment, "0000-00-00T00:00:00") && zone_fits && !leap_second && text.parse::<jiff::Timestamp>().is_ok()
}
