//! What people read when they are refused.

use serde_json::json;

use super::*;
use crate::policy::differences;

#[test]
fn a_long_text_is_cut_and_keeps_its_ending() {
    let text = finish(&"ä".repeat(4000), "Propose the change there: https://git.example.com/x");
    assert!(text.len() <= MAX_TEXT);
    assert!(text.ends_with("https://git.example.com/x"));
    assert!(text.contains('…'));
}

#[test]
fn control_characters_do_not_reach_a_terminal() {
    assert_eq!(escape("a\u{1b}[2Jb\u{202e}c"), "a\\u{1b}[2Jb\\u{202e}c");
    assert_eq!(inline("a\nsource: other"), "a\\nsource: other");
}

#[test]
fn what_the_bound_leaves_out_is_counted() {
    let long = |n: usize| json!("x".repeat(n));
    let labels: serde_json::Map<_, _> = (0..40).map(|n| (format!("label-{n}"), long(500))).collect();
    let git = json!({"metadata": {"labels": {}}, "spec": {"selector": long(500)}});
    let other = json!({"metadata": {"labels": labels}, "spec": {"selector": "all()"}});
    let differences = differences(&git, &other);
    let found = Findings {
        differences: &differences,
        in_cluster: &[],
        marks_of: None,
        edit_url: None,
        unread: &Unread::Nothing,
        now: Timestamp::UNIX_EPOCH,
    };
    let mut text = "headline".to_owned();
    list(&mut text, DenialDetail::Values, found, 600);
    let lines: Vec<&str> = text.lines().collect();
    assert!(text.len() <= 600 + ROOM_FOR_COUNT, "{text}");
    assert!(
        lines.get(1).is_some_and(|line| line.starts_with("  spec.selector: ")),
        "{text}"
    );
    let listed = lines.len() - 2;
    assert!(listed > 1, "{text}");
    assert_eq!(
        lines.last(),
        Some(&format!("  and {} more fields", 41 - listed).as_str())
    );
    let mut text = String::new();
    list(&mut text, DenialDetail::Paths, found, 0);
    assert_eq!(text, "\n  spec.selector\n  and 40 more fields");
}

#[test]
fn a_warning_is_one_line_for_the_api_server_drops_others() {
    let warning = would_deny(
        None,
        "NetworkPolicy a/b differs from Git.\n  source: platform\n  spec.ingress: not in Git",
    );
    assert!(!warning.contains('\n'));
    assert!(
        warning.contains("differs from Git.; source: platform; spec.ingress"),
        "{warning}"
    );
}

mod of_what_is_left_over {
    use std::error::Error;
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::super::*;
    use crate::gate::Request;
    use crate::policy::{canonicalize, differences};
    use crate::source::resource::PolicySourceSpec;
    use crate::source::{BlobId, Commit, Entry, Settings, Snapshot, UrlRules};

    fn policy(labels: &Value, port: u16) -> Value {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "web", "namespace": "payments", "labels": labels},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": [{"protocol": "TCP", "port": port}]}]}
        })
    }

    /// The denial of an update from one state to another, with what Git says, and details of the source.
    fn denial_of(git: &Value, old: &Value, new: &Value, spec: &Value) -> Result<String, Box<dyn Error>> {
        denial_while(&[], git, old, new, spec)
    }

    /// The same while these sources cannot be read.
    fn denial_while(
        unread: &[NotRead],
        git: &Value,
        old: &Value,
        new: &Value,
        spec: &Value,
    ) -> Result<String, Box<dyn Error>> {
        let review = json!({"request": {
            "uid": "u", "kind": {"group": "networking.k8s.io", "version": "v1", "kind": "NetworkPolicy"},
            "namespace": "payments", "operation": "UPDATE", "object": new, "oldObject": old
        }});
        let subject = Subject::new(Request::read(review.to_string().as_bytes()).map_err(|(_, error)| error)?)?;
        let mut all = json!({"git": {"url": "https://git.example.com/x.git"}});
        let more = spec.as_object().into_iter().flatten();
        let more = more.map(|(name, value)| (name.clone(), value.clone()));
        all.as_object_mut().ok_or("it is an object")?.extend(more);
        let spec: PolicySourceSpec = serde_json::from_value(all)?;
        let git = canonicalize(git.clone())?;
        let entry = Entry {
            digest: git.digest()?,
            marked: None,
            path: "policies/web.yaml".into(),
            blob: BlobId([0; 20]),
            index: 0,
            line: 1,
        };
        let snapshot = Snapshot {
            commit: Commit {
                id: "3f2a91c".repeat(6),
                tree: String::new(),
                time: Timestamp::UNIX_EPOCH,
                author: String::new(),
                subject: String::new(),
            },
            entries: [(git.key, entry.clone())].into_iter().collect(),
            skipped: Vec::new(),
            ignored: 0,
        };
        let source = SourceState {
            name: "platform".into(),
            settings: Arc::new(Settings::from_spec(&spec, &UrlRules::default())?),
            head: Some(Arc::new(snapshot.clone())),
            had_head: true,
            confirmed_at: None,
            adopted_at: None,
            being_removed: false,
            is_unverified: false,
            is_behind: false,
            formerly: Arc::default(),
            awaited: None,
        };
        let declared = Declared {
            source: &source,
            snapshot: &snapshot,
            entry: &entry,
        };
        let verdict = Verdict {
            reason: Reason::Differs,
            allowed: false,
            lenience: None,
            source: Some(&source),
            declared: Some(declared),
            rival: None,
            exemption: None,
            grant: None,
        };
        let form = |object: &Value| canonicalize(object.clone()).map(|canonical| canonical.form);
        let findings = Findings {
            differences: &differences(&git.form, &form(new)?),
            in_cluster: &differences(&git.form, &form(old)?),
            marks_of: crate::policy::deployer::whose_marks(
                subject.key.kind(),
                &git.form,
                &form(new)?,
                source.settings.deployer,
            ),
            unread: &Unread::of(unread, Some(&source)),
            edit_url: None,
            now: Timestamp::UNIX_EPOCH,
        };
        Ok(denial(&subject, &verdict, findings))
    }

    #[test]
    fn a_field_that_only_the_cluster_has_is_named_with_what_to_do_about_it() -> Result<(), Box<dyn Error>> {
        let (git, labels) = (policy(&json!({}), 443), json!({"team": "a"}));
        let (old, new) = (policy(&labels, 8443), policy(&labels, 443));
        let text = denial_of(&git, &old, &new, &json!({}))?;
        assert!(
            text.contains("metadata.labels.team: not in Git, \"a\" in this request (in the cluster already, not changed by this request)"),
            "{text}"
        );
        assert!(
            text.ends_with("Use `kubectl replace` with policies/web.yaml, or leave it to the sync loop."),
            "{text}"
        );
        assert!(!text.contains("Propose"), "{text}");
        Ok(())
    }

    #[test]
    fn marks_are_told_with_the_field_that_lets_them_pass() -> Result<(), Box<dyn Error>> {
        let git = policy(&json!({}), 443);
        let marked = policy(&json!({"app.kubernetes.io/managed-by": "Helm"}), 443);
        let hint =
            "Helm marks what it applies. If it applies this source, let PolicySource platform say spec.deployer: helm";
        let text = denial_of(&git, &git, &marked, &json!({}))?;
        assert!(text.contains(hint), "{text}");
        let text = denial_of(&git, &git, &marked, &json!({"deployer": "argo-cd"}))?;
        assert!(text.contains("spec.deployer: helm instead of argo-cd"), "{text}");
        let other = policy(&json!({"app.kubernetes.io/managed-by": "Helm", "team": "a"}), 443);
        let text = denial_of(&git, &git, &other, &json!({"deployer": "helm"}))?;
        assert!(!text.contains("marks what it applies"), "{text}");
        Ok(())
    }

    #[test]
    fn nobody_is_sent_to_a_loop_that_does_not_write() -> Result<(), Box<dyn Error>> {
        let (git, labels) = (policy(&json!({}), 443), json!({"team": "a"}));
        let (old, new) = (policy(&labels, 8443), policy(&labels, 443));
        for spec in [json!({"sync": {"enabled": false}}), json!({"suspend": true})] {
            let text = denial_of(&git, &old, &new, &spec)?;
            assert!(
                text.ends_with("Use `kubectl replace` with policies/web.yaml."),
                "{text}"
            );
        }
        Ok(())
    }

    #[test]
    fn what_the_request_itself_changes_is_to_be_proposed_in_git() -> Result<(), Box<dyn Error>> {
        let git = policy(&json!({}), 443);
        let old = policy(&json!({"team": "a"}), 443);
        let new = policy(&json!({"team": "a"}), 8443);
        let text = denial_of(&git, &old, &new, &json!({}))?;
        assert!(
            text.contains("metadata.labels.team: not in Git, \"a\" in this request (in the cluster already"),
            "{text}"
        );
        assert!(text.contains("443 in Git, 8443 in this request\n"), "{text}");
        assert!(text.ends_with("Propose the change there, by a pull request."), "{text}");
        Ok(())
    }

    #[test]
    fn a_field_that_is_absent_from_both_may_be_absent_from_the_file() -> Result<(), Box<dyn Error>> {
        let git = policy(&json!({"team": "a"}), 443);
        let (old, new) = (policy(&json!({}), 8443), policy(&json!({}), 443));
        let text = denial_of(&git, &old, &new, &json!({}))?;
        assert!(
            text.contains("metadata.labels.team: \"a\" in Git, not in this request\nPropose"),
            "{text}"
        );
        Ok(())
    }

    #[test]
    fn the_least_detail_shows_no_field_of_the_cluster_either() -> Result<(), Box<dyn Error>> {
        let (git, labels) = (policy(&json!({}), 443), json!({"team": "a"}));
        let (old, new) = (policy(&labels, 8443), policy(&labels, 443));
        let text = denial_of(&git, &old, &new, &json!({"denial": "Minimal"}))?;
        assert!(!text.contains("team"), "{text}");
        Ok(())
    }

    #[test]
    fn a_refusal_says_why_its_own_source_cannot_be_read_and_nothing_of_anybody_elses() -> Result<(), Box<dyn Error>> {
        let (git, new) = (policy(&json!({}), 443), policy(&json!({}), 8443));
        let not_read = |source: &str, why: &str| NotRead {
            source: source.into(),
            why: why.to_owned(),
        };
        let others = not_read("orders-team", "https://git.orders.example/x.git does not answer");
        let own = not_read("platform", "cut off after 10s");
        let told = |unread: &[NotRead], spec: &Value| denial_while(unread, &git, &git, &new, spec);
        let text = told(&[others.clone(), own.clone()], &json!({}))?;
        assert!(
            text.contains("\n  Git could not be read again just now: cut off after 10s\n"),
            "{text}"
        );
        assert!(!text.contains("orders"), "{text}");
        let text = told(&[others], &json!({}))?;
        assert!(
            text.contains("just now: the repository of another source does not answer") && !text.contains("orders"),
            "{text}"
        );
        // Whose refusals show no values show no errors either.
        for denial in ["Paths", "Minimal"] {
            let text = told(std::slice::from_ref(&own), &json!({"denial": denial}))?;
            assert!(
                text.contains("Git could not be read again just now\n") && !text.contains("cut off"),
                "{text}"
            );
        }
        assert!(!told(&[], &json!({}))?.contains("just now"));
        Ok(())
    }
}
