//! One Calico object has one key, whichever group carries it and whichever release named what it stored.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use headgate::policy::{METADATA_ANNOTATION, Placement, canonicalize};
use serde_json::{Value, json};

fn stored(kind: &str, name: &str, annotation: Option<Value>, tier: Option<&str>) -> Value {
    let annotations = annotation.map(|packed| json!({METADATA_ANNOTATION: packed.to_string()}));
    json!({
        "apiVersion": "crd.projectcalico.org/v1", "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "annotations": annotations}, "spec": {"tier": tier},
    })
}

const NAMELESS: &str = "";

/// Release, the name in v3, its tier, the name it is stored under, the name in the annotation.
const HISTORY: &[(&str, &str, Option<&str>, &str, &str)] = &[
    ("to 3.28", "web", None, "default.web", NAMELESS),
    (
        "to 3.28, of a NetworkPolicy",
        "knp.default.web",
        None,
        "knp.default.web",
        NAMELESS,
    ),
    (
        "to 3.28, of OpenStack",
        "ossg.default.web",
        None,
        "ossg.default.web",
        NAMELESS,
    ),
    (
        "3.29.0 to 3.29.3, read as 3.28",
        "web",
        Some("default"),
        "default.web",
        NAMELESS,
    ),
    (
        "3.29.0 to 3.29.3, in a tier",
        "sec.web",
        Some("sec"),
        "sec.web",
        NAMELESS,
    ),
    ("3.29.4 to 3.31", "web", Some("default"), "default.web", "web"),
    ("3.29.4 to 3.31, no tier", "web", None, "default.web", "web"),
    (
        "3.29.4 to 3.31, prefixed by hand",
        "default.web",
        Some("default"),
        "default.web",
        "default.web",
    ),
    (
        "3.29.4 to 3.31, in a tier",
        "sec.web",
        Some("sec"),
        "sec.web",
        "sec.web",
    ),
    ("from 3.32", "web", Some("default"), "web", "web"),
    ("from 3.32, in a tier", "web", Some("sec"), "web", "web"),
    (
        "from 3.32, prefixed by hand",
        "default.web",
        Some("default"),
        "default.web",
        "default.web",
    ),
    (
        "from 3.32, prefixed otherwise",
        "sec.web",
        Some("default"),
        "sec.web",
        "sec.web",
    ),
];

#[test]
fn one_object_has_one_key_in_every_release() {
    for kind in [
        "NetworkPolicy",
        "GlobalNetworkPolicy",
        "StagedNetworkPolicy",
        "StagedGlobalNetworkPolicy",
    ] {
        for (release, name, tier, stored_name, packed_name) in HISTORY {
            let mut annotation = json!({"creationTimestamp": "2026-11-23T16:27:00Z"});
            if *packed_name != NAMELESS {
                annotation["name"] = (*packed_name).into();
            }
            let v3 = json!({
                "apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name, "namespace": "shop"}, "spec": {"tier": tier},
            });
            let v3 = canonicalize(v3).unwrap();
            let crd = canonicalize(stored(kind, stored_name, Some(annotation), *tier)).unwrap();
            assert_eq!(
                (&crd.key, crd.placement),
                (&v3.key, Placement::AsNamed),
                "{release}: {kind}"
            );
            assert_eq!(crd.digest().unwrap(), v3.digest().unwrap(), "{release}: {kind}");
        }
    }
}

/// A name in the annotation that the stored name cannot belong to.
#[test]
fn the_misplaced_are_recognised() {
    let cases = [
        ("web", "victim", "NetworkPolicy"),
        ("default.web", "victim", "NetworkPolicy"),
        ("default.a.b", "a.b", "NetworkPolicy"),
        ("sec.web", "web", "NetworkPolicy"),
        ("default.default.web", "web", "NetworkPolicy"),
        ("web", "default.web", "NetworkPolicy"),
        ("default.web", "web", "NetworkSet"),
        ("default.web", "web", "StagedKubernetesNetworkPolicy"),
        ("default.web", "web", "Tier"),
    ];
    for (stored_name, packed_name, kind) in cases {
        let made = canonicalize(stored(kind, stored_name, Some(json!({"name": packed_name})), None)).unwrap();
        assert_eq!(
            (made.key.name(), made.placement),
            (packed_name, Placement::Misplaced),
            "{stored_name} {packed_name} {kind}"
        );
    }
}

/// Only the four kinds in tiers were ever renamed, and a file of the stored group keeps its name.
#[test]
fn other_names_are_as_written() {
    let plain = |kind: &str, annotation| canonicalize(stored(kind, "default.web", annotation, None)).unwrap();
    for kind in [
        "NetworkSet",
        "GlobalNetworkSet",
        "HostEndpoint",
        "Tier",
        "StagedKubernetesNetworkPolicy",
    ] {
        assert_eq!(plain(kind, Some(json!({}))).key.name(), "default.web", "{kind}");
    }
    assert_eq!(plain("NetworkPolicy", None).key.name(), "default.web");
    assert_eq!(plain("NetworkPolicy", Some(json!({}))).key.name(), "web");
}
