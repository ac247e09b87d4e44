use super::*;
use proptest::prelude::*;
use serde_json::json;

fn sentences(git: &Value, other: &Value) -> Vec<String> {
    differences(git, other).iter().map(ToString::to_string).collect()
}

#[test]
fn a_changed_field_is_named_with_both_values() {
    let git = json!({"spec": {"ingress": [{"ports": [{"port": 443, "protocol": "TCP"}]}]}});
    let other = json!({"spec": {"ingress": [{"ports": [{"port": 8443, "protocol": "TCP"}]}]}});
    assert_eq!(
        sentences(&git, &other),
        ["spec.ingress[0].ports[0].port: 443 in Git, 8443 in this request"]
    );
}

#[test]
fn an_added_item_is_not_in_git_and_a_missing_one_is_only_there() {
    let one = json!({"spec": {"ingress": [{"from": []}]}});
    let two = json!({"spec": {"ingress": [{"from": []}, {"ports": []}]}});
    assert_eq!(sentences(&one, &two), ["spec.ingress[1]: not in Git"]);
    assert_eq!(sentences(&two, &one), ["spec.ingress[1]: only in Git"]);
}

#[test]
fn an_item_inserted_in_front_is_one_difference() {
    let git = json!({"nets": ["a", "b", "c"]});
    let other = json!({"nets": ["x", "a", "b", "c"]});
    assert_eq!(sentences(&git, &other), ["nets[0]: not in Git"]);
}

#[test]
fn an_item_inserted_beside_an_edited_one_leaves_the_edit_small() {
    let rule = |port: u16, from: &str| json!({"from": [{"podSelector": {"matchLabels": {"app": from}}}], "ports": [{"port": port}]});
    let git = json!({"ingress": [rule(80, "web"), rule(443, "api")]});
    let other = json!({"ingress": [rule(22, "admin"), rule(8080, "web"), rule(443, "api")]});
    assert_eq!(
        sentences(&git, &other),
        [
            "ingress[0]: not in Git",
            "ingress[0].ports[0].port: 80 in Git, 8080 in this request"
        ]
    );
    assert_eq!(
        sentences(&other, &git),
        [
            "ingress[0]: only in Git",
            "ingress[1].ports[0].port: 8080 in Git, 80 in this request"
        ]
    );
}

#[test]
fn items_that_changed_places_are_told() {
    let (git, other) = (json!([1, 2]), json!([2, 1]));
    assert!(!differences(&git, &other).is_empty());
}

#[test]
fn keys_with_dots_are_quoted_and_labels_told_one_by_one() {
    let git = json!({"metadata": {"labels": {"app.kubernetes.io/name": "web", "tier": "front"}}});
    assert_eq!(
        sentences(&git, &json!({})),
        [
            r#"metadata.labels["app.kubernetes.io/name"]: only in Git"#,
            "metadata.labels.tier: only in Git"
        ]
    );
}

#[test]
fn long_and_hostile_values_are_cut_and_escaped() {
    let git = json!({"a": "x".repeat(500)});
    let other = json!({"a": "\u{202e}\u{1b}[2J"});
    let told = sentences(&git, &other).concat();
    assert!(told.chars().count() < 200, "{told}");
    assert!(!told.contains(['\u{202e}', '\u{1b}']), "{told}");
}

#[test]
fn beyond_the_bound_one_last_difference_says_there_are_more() {
    let many = |value: u32| {
        Value::from(
            (0..MOST_DIFFERENCES)
                .map(|_| json!({"a": value, "b": value}))
                .collect::<Vec<_>>(),
        )
    };
    let found = differences(&many(1), &many(2));
    assert_eq!(found.len(), MOST_DIFFERENCES + 1);
    assert!(found.last().is_some_and(Difference::is_more));
    assert!(!found.iter().take(MOST_DIFFERENCES).any(Difference::is_more));
}

#[test]
fn huge_lists_are_compared_place_by_place() {
    let list = |offset: u32| Value::from((0..5_000).map(|n| json!(n + offset)).collect::<Vec<_>>());
    assert_eq!(differences(&list(0), &list(10_000)).len(), MOST_DIFFERENCES + 1);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        "[a-c./]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c./]{0,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn there_are_differences_exactly_where_the_forms_differ(git in any_json(), other in any_json()) {
        prop_assert_eq!(differences(&git, &other).is_empty(), git == other);
        prop_assert!(differences(&git, &git).is_empty());
    }
}
