#![expect(clippy::indexing_slicing, reason = "a test")]

use crate::policy::manifest::tests::{HEAD, assert_error, problems};
use crate::policy::manifest::{Severity, parse};

#[test]
fn keys_that_are_no_text_become_what_kubectl_makes_of_them() {
    let keys = |keys: &str| {
        let text = format!("{}\n", HEAD.replace("shop}", &format!("shop, annotations: {keys}}}")));
        parse(text.as_bytes()).manifests[0].object["metadata"]["annotations"].clone()
    };
    assert_eq!(
        keys("{yes: a, 0x10: b, 1.50: c, 'on': d}"),
        serde_json::json!({"true": "a", "16": "b", "1.5": "c", "on": "d"})
    );
    assert_error(
        &HEAD.replace("shop}", "shop, annotations: {~: a}}"),
        "3:54 : this cannot be the name",
    );
    assert_error(
        &HEAD.replace("shop}", "shop, annotations: {1: a, '1': b}}"),
        "3:60 : `1` is here twice, first at line 3",
    );
}

#[test]
fn what_kubectl_would_drop_or_turn_around_is_refused() {
    assert_error(&format!("{HEAD}...\nkind: b\n"), "5:1 : kubectl drops what follows");
    assert_error("--- a\n", "1:4 : only a comment may follow");
    assert_error(
        &format!("{HEAD}spec: {{<<: {{podSelector: {{}}}}, podSelector: {{}}, <<: {{}}}}\n"),
        "4:48 : `<<` is here twice",
    );
    assert_error(
        &format!("{HEAD}spec: {{podSelector: {{}}, <<: {{podSelector: {{a: b}}}}}}\n"),
        "4:25 : kubectl would replace `podSelector` above",
    );
    assert_error(
        &format!("{HEAD}# a\u{2028}spec: {{}}\n"),
        "4:4 : the invisible character",
    );
    assert_error(&format!("{HEAD}spec: [a:, b]\n"), "4:8 : the colon after this key");
}

/// Ten times as much on each level, of what `first` is.
fn bomb(first: &str) -> String {
    let mut text = format!("a0: &a0 {first}\n");
    for level in 1..10 {
        let previous = format!("*a{}", level - 1);
        let line = format!("a{level}: &a{level} [{}]\n", vec![previous; 10].join(", "));
        text.push_str(&line);
    }
    text
}

#[test]
fn alias_bombs_are_refused() {
    let long = format!("\"{}\"", "x".repeat(100_000));
    for first in ["[x, x, x, x, x, x, x, x, x, x]", long.as_str(), "[]", "{a: {b: c}}"] {
        assert_eq!(problems(&bomb(first), Severity::Error).len(), 1);
    }
    let deep: Vec<String> = (1..60)
        .map(|level| format!("a{level}: &a{level} [[[*a{}]]]\n", level - 1))
        .collect();
    assert_error(&format!("a0: &a0 x\n{}", deep.concat()), "34:");
    assert_error(
        &format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)),
        "1:256 : the document is nested deeper",
    );
    let merges: Vec<String> = (1..60)
        .map(|level| {
            format!(
                "a{level}: &a{level} {{<<: *a{}, k{level}: *a{}}}\n",
                level - 1,
                level - 1
            )
        })
        .collect();
    assert_eq!(
        problems(&format!("a0: &a0 {{a: b}}\n{}", merges.concat()), Severity::Error).len(),
        1
    );
}
