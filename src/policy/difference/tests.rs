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
    assert_eq!(
        sentences(&one, &two),
        [r#"spec.ingress[1]: not in Git, [1] in this request is {"ports":[]}"#]
    );
    assert_eq!(
        sentences(&two, &one),
        [r#"spec.ingress[1]: {"ports":[]} in Git, not in this request"#]
    );
}

#[test]
fn an_item_inserted_in_front_is_one_difference() {
    let git = json!({"nets": ["a", "b", "c"]});
    let other = json!({"nets": ["x", "a", "b", "c"]});
    assert_eq!(
        sentences(&git, &other),
        [r#"nets[0]: not in Git, [0] in this request is "x""#]
    );
}

#[test]
fn an_item_inserted_beside_an_edited_one_leaves_the_edit_small() {
    let rule = |port: u16, from: &str| json!({"from": [{"podSelector": {"matchLabels": {"app": from}}}], "ports": [{"port": port}]});
    let git = json!({"ingress": [rule(80, "web"), rule(443, "api")]});
    let other = json!({"ingress": [rule(22, "admin"), rule(8080, "web"), rule(443, "api")]});
    assert_eq!(
        sentences(&git, &other),
        [
            r#"ingress[0]: not in Git, [0] in this request is {"from":[{"podSelector":{"matchLabels":{"app":"admin"}}}],"ports":[{"port":22}]}"#,
            "ingress[0].ports[0].port: 80 in Git, 8080 in this request"
        ]
    );
    assert_eq!(
        sentences(&other, &git),
        [
            r#"ingress[0]: {"from":[{"podSelector":{"matchLabels":{"app":"admin"}}}],"ports":[{"port":22}]} in Git, not in this request"#,
            "ingress[1].ports[0].port: 8080 in Git, 80 in this request"
        ]
    );
}

#[test]
fn an_item_that_changed_its_place_is_told_as_moved() {
    let (a, b) = (json!({"ports": [{"port": 80}]}), json!({"ports": [{"port": 443}]}));
    let (git, other) = (json!({"ingress": [a, b]}), json!({"ingress": [b, a]}));
    assert_eq!(sentences(&git, &other), ["ingress[0]: moved, [1] in this request"]);
    let found = differences(&json!([1, 2, 3, 4, 5]), &json!([5, 1, 2, 9, 4]));
    let told: Vec<String> = found
        .iter()
        .map(|difference| difference.sentence("the cluster"))
        .collect();
    assert_eq!(
        told,
        ["[2]: 3 in Git, 9 in the cluster", "[4]: moved, [0] in the cluster"]
    );
    assert_eq!(
        serde_json::to_value(found).unwrap_or_default(),
        json!([{"path": "[2]", "git": 3, "other": 9}, {"path": "[4]", "movedTo": 0}])
    );
}

#[test]
fn a_field_in_brackets_is_no_place_in_a_list() {
    let other = json!({"metadata": {"labels": {"0": "a", "x[0]": "b"}}});
    assert_eq!(
        sentences(&json!({}), &other),
        [
            r#"metadata.labels.0: not in Git, "a" in this request"#,
            r#"metadata.labels["x[0]"]: not in Git, "b" in this request"#
        ]
    );
}

#[test]
fn what_a_policy_does_comes_before_its_labels() {
    let labels: Map<String, Value> = (0..100).map(|n| (format!("a{n}"), json!("x"))).collect();
    let git = json!({"kind": "K", "metadata": {"labels": {}}, "spec": {"order": 1}});
    let other = json!({"kind": "K", "metadata": {"labels": labels}, "spec": {"order": 2}});
    let found = differences(&git, &other);
    assert_eq!(found.first().map(|first| first.path.as_str()), Some("spec.order"));
    assert!(found.last().is_some_and(Difference::is_more));
}

#[test]
fn long_texts_are_shown_where_they_differ() {
    let same = "a == 'x' && ".repeat(20);
    let told = |git: &str, other: &str| sentences(&json!(git), &json!(other)).concat();
    assert_eq!(
        told(&format!("{same}b == 'y'"), &format!("{same}b == 'z' || c")),
        ": \"…x' && a == 'x' && a == 'x' && b == 'y'\" in Git, \"…x' && a == 'x' && a == 'x' && b == 'z' || c\" in this request"
            .replace("…x' && a == 'x' && a == 'x' && b == '", &format!("…{}b == '", last_chars(&same, 24)))
    );
    let long = "x".repeat(500);
    assert_eq!(
        told("short", &long),
        format!(": \"short\" in Git, \"{}…\" in this request", "x".repeat(80))
    );
    assert!(told(&long, &(long.clone() + "y")).ends_with("xy\" in this request"));
    let hidden = "\u{200b}".repeat(60);
    assert!(told(&(hidden.clone() + "a"), &(hidden + "b")).contains("200b}b\" in this request"));
    assert_eq!(told("a\"\\\nb", "c"), r#": "a\"\\\nb" in Git, "c" in this request"#);
}

fn last_chars(text: &str, count: usize) -> &str {
    text.get(text.len() - count..).unwrap_or_default()
}

#[test]
fn a_cut_goes_through_no_quotes() {
    let told = sentences(&json!({}), &json!({"a": [{"b": "x".repeat(500)}]})).concat();
    assert!(told.ends_with("xx…\" in this request"), "{told}");
    let told = sentences(&json!({}), &json!({"a": [{"b\\\"": "x".repeat(50), "c": vec![1; 50]}]})).concat();
    assert!(told.ends_with("1,… in this request"), "{told}");
}

#[test]
fn a_long_path_is_without_its_middle() {
    let found = differences(&json!({}), &json!({"spec": {"x".repeat(5_000): {"y\u{202e}": 1}}}));
    let path = found.first().map_or("", |first| first.path.as_str());
    assert_eq!(path, "spec");
    let found = differences(&json!({"spec": {}}), &json!({"spec": {"x".repeat(5_000): 1}}));
    let path = found.first().map_or("", |first| first.path.as_str());
    assert!(path.starts_with("spec.xx") && path.contains("x…x"), "{path}");
    assert!(path.chars().count() < 310, "{path}");
    let found = differences(&json!({"spec": {}}), &json!({"spec": {"y\u{202e}\u{e0041}": 1}}));
    let path = found.first().map_or("", |first| first.path.as_str());
    assert_eq!(path, r#"spec["y\u{202e}\u{e0041}"]"#);
}

#[test]
fn keys_with_dots_are_quoted_and_labels_told_one_by_one() {
    let git = json!({"metadata": {"labels": {"app.kubernetes.io/name": "web", "tier": "front"}}});
    assert_eq!(
        sentences(&git, &json!({})),
        [
            r#"metadata.labels["app.kubernetes.io/name"]: "web" in Git, not in this request"#,
            r#"metadata.labels.tier: "front" in Git, not in this request"#
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
fn an_insertion_is_one_difference_however_long_the_list() {
    let list = |range: std::ops::Range<u32>| range.map(|n| json!(n)).collect::<Vec<_>>();
    let git = list(0..20_000);
    let mut other = list(0..20_000);
    other.insert(0, json!("front"));
    other.insert(10_000, json!("middle"));
    other.push(json!("end"));
    let found = differences(&Value::from(git), &Value::from(other));
    let paths: Vec<&str> = found.iter().map(|difference| difference.path.as_str()).collect();
    assert_eq!(paths, ["[0]", "[10000]", "[20002]"]);
    let other = Value::from(list(30_000..50_000));
    assert_eq!(
        differences(&Value::from(list(0..20_000)), &other).len(),
        MOST_DIFFERENCES + 1
    );
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
