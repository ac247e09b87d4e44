use super::*;

fn key(text: &str) -> Result<Key, crate::policy::key::KeyError> {
    text.parse()
}

fn sighting(place: &Key, as_key: &Key, says: &str) -> Result<Sighting, serde_json::Error> {
    Ok(Sighting {
        place: place.clone(),
        object: LiveObject {
            key: as_key.clone(),
            content: Content::Readable {
                marked: None,
                digest: Digest::of(&Value::String(says.to_owned()))?,
                placement: if place == as_key {
                    Placement::AsNamed
                } else {
                    Placement::Misplaced
                },
            },
            terminating: false,
            exempt_until: None,
            uid: "u".into(),
            resource_version: "1".into(),
            created: None,
        },
    })
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[test]
fn a_new_list_replaces_all_that_was_known_and_names_what_changed() -> Outcome {
    let [a, b, c] = ["a", "b", "c"].map(|name| format!("tier.projectcalico.org/{name}"));
    let (a, b, c) = (key(&a)?, key(&b)?, key(&c)?);
    let mut index = LiveIndex::default();
    assert_eq!(index.knowledge(a.kind()), Knowledge::NotServed);
    index.serve(a.kind());
    assert_eq!(index.knowledge(a.kind()), Knowledge::Incomplete);
    index.replace(a.kind(), None, vec![sighting(&a, &a, "1")?, sighting(&b, &b, "1")?]);
    assert_eq!(index.knowledge(a.kind()), Knowledge::Complete);
    let changed = index.replace(a.kind(), None, vec![sighting(&b, &b, "1")?, sighting(&c, &c, "1")?]);
    assert_eq!(changed, HashSet::from([a.clone(), c]));
    assert!(index.at(&a).is_empty());
    assert_eq!(index.at(&b).len(), 1);
    Ok(())
}

#[test]
fn an_object_under_another_name_is_found_by_its_key() -> Outcome {
    let own = key("tier.projectcalico.org/own")?;
    let other = key("tier.projectcalico.org/other")?;
    let mut index = LiveIndex::default();
    index.see(sighting(&other, &own, "1")?);
    assert_eq!(index.at(&own).first().map(|(place, _)| *place), Some(&other));
    assert!(index.at(&other).is_empty());
    index.see(sighting(&own, &own, "1")?);
    assert_eq!(index.at(&own).len(), 2);
    Ok(())
}

#[test]
fn an_object_that_changes_its_key_concerns_both_keys() -> Outcome {
    let own = key("tier.projectcalico.org/own")?;
    let other = key("tier.projectcalico.org/other")?;
    let mut index = LiveIndex::default();
    index.see(sighting(&own, &own, "1")?);
    let (keys, changed) = index.see(sighting(&own, &other, "1")?);
    assert!(changed);
    assert_eq!(keys, vec![other.clone(), own.clone()]);
    assert_eq!(index.lose(&own), Some(other.clone()));
    assert!(index.at(&other).is_empty());
    Ok(())
}

#[test]
fn a_mere_new_version_is_no_change() -> Outcome {
    let own = key("tier.projectcalico.org/own")?;
    let mut index = LiveIndex::default();
    index.see(sighting(&own, &own, "1")?);
    let mut touched = sighting(&own, &own, "1")?;
    touched.object.resource_version = "2".into();
    assert_eq!(index.see(touched), (vec![own.clone()], false));
    let version = index
        .at(&own)
        .first()
        .map(|(_, object)| object.resource_version.clone());
    assert_eq!(version.as_deref(), Some("2"));
    Ok(())
}

#[test]
fn an_object_that_cannot_be_read_keeps_its_place() -> Outcome {
    let api = ApiResource {
        group: "networking.k8s.io".into(),
        version: "v1".into(),
        api_version: "networking.k8s.io/v1".into(),
        kind: "NetworkPolicy".into(),
        plural: "networkpolicies".into(),
    };
    let nested = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let rules = Rules {
        mode: crate::source::resource::Mode::Enforce,
        uncovered: crate::gate::Uncovered::Deny,
        dry_run: crate::gate::DryRun::Deny,
        guarded: Kind::all().collect(),
        exemptions: Vec::new(),
        guard_namespaces: false,
    };
    let place = key("networkpolicy.networking.k8s.io/n/a")?;
    for content in [r#""spec": 1, "labels": 3"#.to_owned(), format!(r#""a": {nested}"#)] {
        let metadata = r#""name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7""#;
        let stored: Stored = serde_json::from_str(&format!(r#"{{"metadata": {{{metadata}, {content}}}}}"#))?;
        let sighting = Sighting::of(place.kind(), &api, stored, &rules).ok_or("it has a name")?;
        assert_eq!(sighting.place, place);
        assert_eq!(sighting.object.key, place);
        assert!(matches!(sighting.object.content, Content::Unreadable(_)));
        assert_eq!((&*sighting.object.uid, &*sighting.object.resource_version), ("u", "7"));
    }
    Ok(())
}

#[test]
fn a_kind_that_is_guarded_in_some_namespaces_is_known_once_each_was_listed() -> Outcome {
    let text = "{group: live.test.example, version: v1, kind: Set, plural: sets, namespaced: true, namespaces: [a, b]}";
    let kind = serde_saphyr::from_str::<crate::policy::GenericKind>(text)?.register()?;
    let [one, two] = ["a", "b"].map(|namespace| Key::new(kind, Some(namespace), "x"));
    let mut index = LiveIndex::default();
    index.serve(kind);
    index.replace(kind, Some("a"), vec![sighting(&one, &one, "1")?]);
    assert_eq!(index.knowledge(kind), Knowledge::Incomplete);
    index.replace(kind, Some("b"), vec![sighting(&two, &two, "1")?]);
    assert_eq!(index.knowledge(kind), Knowledge::Complete);
    let changed = index.replace(kind, Some("a"), Vec::new());
    assert_eq!(changed, HashSet::from([one.clone()]));
    assert!(index.at(&one).is_empty() && index.at(&two).len() == 1);
    Ok(())
}
