use std::time::Duration;

use kube::core::ObjectMeta;

use super::*;
use crate::gate::{GrantedObject, PolicyGrantSpec};

fn grant(name: &str) -> PolicyGrant {
    let spec = PolicyGrantSpec {
        requested_by: "alice".to_owned(),
        objects: vec![GrantedObject {
            kind: "networkpolicy.networking.k8s.io".to_owned(),
            namespace: Some("payments".to_owned()),
            name: "web".to_owned(),
        }],
        duration: "30m".to_owned(),
        reason: "an outage".to_owned(),
    };
    PolicyGrant {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            uid: Some(format!("uid of {name}")),
            creation_timestamp: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now())),
            ..ObjectMeta::default()
        },
        ..PolicyGrant::new(name, spec)
    }
}

#[test]
fn until_all_grants_are_listed_there_are_none() {
    let grants = Grants::new(GrantRules::default());
    let mut listing = BTreeMap::new();
    grants.apply(watcher::Event::Init, &mut listing);
    grants.apply(watcher::Event::InitApply(grant("a")), &mut listing);
    assert_eq!(grants.current().iter().count(), 0);
    assert!(!grants.board().borrow().is_listed);
    grants.apply(watcher::Event::InitDone, &mut listing);
    assert_eq!(grants.current().iter().count(), 1);
    grants.apply(watcher::Event::Delete(grant("a")), &mut listing);
    assert_eq!(grants.current().iter().count(), 0);
}

#[test]
fn a_grant_that_is_listed_again_lasts_no_longer() {
    let grants = Grants::new(GrantRules {
        max_duration: Duration::from_mins(1),
        ..GrantRules::default()
    });
    let ends = || grants.current().iter().map(|grant| grant.ends).collect::<Vec<_>>();
    let mut listing = BTreeMap::new();
    let mut ahead = grant("a");
    // By the API server's clock it is an hour later.
    ahead.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        Timestamp::now() + jiff::SignedDuration::from_hours(1),
    ));
    grants.apply(watcher::Event::Apply(ahead.clone()), &mut listing);
    let first = ends();
    grants.apply(watcher::Event::Init, &mut listing);
    grants.apply(watcher::Event::InitApply(ahead), &mut listing);
    grants.apply(watcher::Event::InitDone, &mut listing);
    assert_eq!(ends(), first);
}
