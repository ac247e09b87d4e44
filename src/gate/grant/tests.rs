use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const CREATED: &str = "2026-05-01T12:00:00Z";

fn object(change: impl Fn(&mut Value)) -> Result<PolicyGrant, serde_json::Error> {
    let mut value = json!({
        "metadata": {"name": "g", "uid": "1", "creationTimestamp": CREATED},
        "spec": {
            "requestedBy": "alice", "duration": "1h30m", "reason": "an outage",
            "objects": [{"kind": "networkpolicy.networking.k8s.io", "namespace": "payments", "name": "web-*"}]
        }
    });
    change(&mut value);
    serde_json::from_value(value)
}

fn read(change: impl Fn(&mut Value)) -> Result<Result<Grant, GrantError>, Box<dyn std::error::Error>> {
    Ok(Grant::new(&object(change)?, CREATED.parse()?, LONGEST))
}

#[test]
fn a_grant_ends_by_the_clock_of_the_api_server_or_by_what_this_process_saw_whichever_is_first() -> Outcome {
    let at = |text: &str| text.parse::<Timestamp>();
    let ends = |seen: &str, max: u64| -> Result<Timestamp, Box<dyn std::error::Error>> {
        Ok(Grant::new(&object(|_| ())?, at(seen)?, Duration::from_mins(max))?.ends)
    };
    assert_eq!(ends(CREATED, 240)?, at("2026-05-01T13:30:00Z")?);
    assert_eq!(ends("2026-05-01T12:20:00Z", 240)?, at("2026-05-01T13:30:00Z")?);
    // Here it is not twelve yet: the clock is slow, and the grant lasts no longer for that.
    assert_eq!(ends("2026-05-01T11:00:00Z", 240)?, at("2026-05-01T12:30:00Z")?);
    assert_eq!(ends(CREATED, 10)?, at("2026-05-01T12:10:00Z")?);
    Ok(())
}

#[test]
fn a_star_stands_for_part_of_a_name_and_never_for_a_namespace() -> Outcome {
    let grant = read(|_| ())??;
    for (key, named) in [
        ("networkpolicy.networking.k8s.io/payments/web-1", true),
        ("networkpolicy.networking.k8s.io/payments/web", false),
        ("networkpolicy.networking.k8s.io/orders/web-1", false),
        ("networkpolicy.projectcalico.org/payments/web-1", false),
    ] {
        assert_eq!(grant.names(&key.parse()?), named, "{key}");
    }
    assert_eq!(grant.summary(), "networkpolicy.networking.k8s.io/payments/web-*");
    Ok(())
}

#[test]
fn a_grant_that_says_too_little_or_is_going_covers_nothing() -> Outcome {
    let refused: [(&str, Value); 8] = [
        ("/metadata/uid", Value::Null),
        ("/spec/requestedBy", json!("")),
        ("/spec/reason", json!(" ")),
        ("/spec/duration", json!("soon")),
        ("/spec/objects", json!([])),
        ("/spec/objects/0/kind", json!("pod")),
        ("/spec/objects/0/namespace", Value::Null),
        ("/spec/objects/0/name", json!("[a-z]*")),
    ];
    for (pointer, value) in refused {
        let grant = read(|object| {
            if let Some(place) = object.pointer_mut(pointer) {
                *place = value.clone();
            }
        })?;
        assert!(grant.is_err(), "{pointer} {value}");
    }
    let going = read(|object| {
        if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.insert("deletionTimestamp".to_owned(), json!(CREATED));
        }
    })?;
    assert_eq!(going.err(), Some(GrantError::Deleted));
    Ok(())
}
