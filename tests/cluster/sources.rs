//! `headgate source` against a real cluster: the objects of a source, its history, and its moves.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::policies::{allow_port, default_deny};
use crate::stand::{Failure, Said, Stand, condition};
use crate::{Outcome, denied_namespace, stand};

fn source(stand: &Stand, arguments: &[&str]) -> Said {
    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    stand.headgate(&[&["source"], arguments, &["--kubeconfig", &kubeconfig]].concat())
}

/// `source get NAME`, with a folder for mirrors of its own.
fn objects(stand: &Stand, name: &str, more: &[&str]) -> Said {
    let state = stand.plane.dir().join("look-state").display().to_string();
    let look = ["get", name, "--state-dir", &state, "--allow-file-urls"];
    source(stand, &[&look[..], more].concat())
}

/// The objects of a source in this namespace, by name.
fn rows(stand: &Stand, name: &str, namespace: &str) -> Result<BTreeMap<String, Value>, Failure> {
    let said = objects(stand, name, &["-o", "json"]);
    let rows: Vec<Value> = serde_json::from_str(&said.out).map_err(|error| format!("{error}: {said:?}"))?;
    let there = rows.into_iter().filter(|row| row["namespace"] == namespace);
    Ok(there
        .map(|row| (row["name"].as_str().unwrap_or_default().to_owned(), row))
        .collect())
}

/// Commits, and waits until the source is in force there.
fn commit(stand: &Stand, name: &str, message: &str) -> Result<String, Failure> {
    let commit = stand.repository.commit(message)?;
    stand.until(&format!("{name} at {commit}"), || {
        let source = stand.get(&format!("policysource/{name}"), None)?;
        Ok((source["status"]["head"]["commit"] == commit.as_str()).then_some(()))
    })?;
    Ok(commit)
}

#[test]
fn every_object_of_a_source_is_listed_with_how_it_stands() -> Outcome {
    let stand = Stand::new()?;
    for namespace in ["shop", "old"] {
        stand.kubectl(&["create", "namespace", namespace]).ok()?;
    }
    stand.apply(&allow_port("shop", "legacy", 22)).ok()?;
    stand.apply(&allow_port("shop", "web", 81)).ok()?;
    let newest = stand.get("networkpolicy/web", Some("shop"))?["metadata"]["creationTimestamp"].clone();
    stand.until("the next second", || {
        let now = jiff::Timestamp::now().to_string();
        Ok((now.get(..19) > newest.as_str().and_then(|time| time.get(..19))).then_some(()))
    })?;
    stand.serve("")?;
    stand.repository.write("shop/deny.yaml", &default_deny("shop"))?;
    stand
        .repository
        .write("shop/web.yaml", &allow_port("shop", "web", 80))?;
    stand
        .repository
        .write("shop/away.yaml", &allow_port("nowhere", "away", 80))?;
    stand
        .repository
        .write("shop/other.yaml", &allow_port("old", "other", 80))?;
    stand.repository.commit("A shop")?;
    let scope = json!({"git": {"path": "shop"}, "scope": {"namespaces": ["shop", "nowhere"]}, "mode": "Audit"});
    stand.add_source("shop", scope)?;
    stand.until("the look at the cluster", || {
        let source = stand.get("policysource/shop", None)?;
        Ok((source["status"]["drift"] == 2).then_some(()))
    })?;
    in_audit(&stand)?;
    only_the_gate(&stand)?;
    overruled_and_at_odds(&stand)?;
    failing(&stand)?;
    assert_eq!(objects(&stand, "nobody", &[]).code, 2);
    let sources = source(&stand, &["get"]);
    assert!(
        sources.out.starts_with("NAME ") && sources.out.contains("shop"),
        "{sources:?}"
    );
    Ok(())
}

/// The loop only reports, and what would change is said in every place: nothing is written.
fn in_audit(stand: &Stand) -> Outcome {
    let audited = objects(stand, "shop", &[]);
    assert_eq!((audited.code, audited.err.as_str()), (1, ""), "{audited:?}");
    let table: Vec<Vec<&str>> = audited
        .out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let header = table.first().ok_or("there is a table")?;
    assert_eq!(
        *header,
        ["GROUP", "KIND", "NAMESPACE", "NAME", "STATUS", "FILE", "MESSAGE"]
    );
    let line = |name: &str| {
        table
            .iter()
            .find(|line| line.get(3) == Some(&name))
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(
        line("deny").get(..6),
        Some(
            &[
                "networking.k8s.io",
                "NetworkPolicy",
                "shop",
                "deny",
                "Missing",
                "shop/deny.yaml"
            ][..]
        )
    );
    assert_eq!(line("away").get(4), Some(&"WaitingForNamespace"));
    let shop = rows(stand, "shop", "shop")?;
    assert_eq!(shop["legacy"]["status"], "Unadopted");
    assert_eq!(shop["web"]["status"], "Differs");
    let message = shop["web"]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("80 in Git, 81 in the cluster") && message.contains("mode Audit"),
        "{message}"
    );
    let left_out = &rows(stand, "shop", "old")?["other"];
    assert_eq!(
        (&left_out["status"], &left_out["file"]),
        (&json!("Skipped"), &json!("shop/other.yaml"))
    );

    // What would change is said elsewhere, too: nothing was written.
    let stored = stand.get("policysource/shop", None)?;
    let synced = condition(&stored, "Synced").ok_or("a condition is missing")?;
    assert_eq!(synced["reason"], "Audit");
    assert!(
        synced["message"]
            .as_str()
            .is_some_and(|text| text.contains("2 objects differ from Git")),
        "{synced}"
    );
    let kubeconfig = stand.plane.kubeconfig().display().to_string();
    let diff = stand.headgate(&["diff", "--allow-file-urls", "--kubeconfig", &kubeconfig]);
    assert!(
        diff.code == 1 && diff.out.contains("shop/deny: Missing") && diff.out.contains("shop/web: Changed"),
        "{diff:?}"
    );
    assert!(stand.get("networkpolicy/deny", Some("shop"))?.is_null());
    Ok(())
}

/// Another deployer is to apply it; then the loop does.
fn only_the_gate(stand: &Stand) -> Outcome {
    let patch = |spec: Value| {
        let spec = json!({"spec": spec}).to_string();
        stand.kubectl(&["patch", "policysource", "shop", "--type=merge", "-p", &spec])
    };
    patch(json!({"mode": "Enforce", "sync": {"enabled": false}})).ok()?;
    stand.until("the other deployer to be waited for", || {
        let live = stand.get("policysource/shop", None)?;
        let synced = condition(&live, "Synced").cloned().unwrap_or_default();
        let told = synced["message"]
            .as_str()
            .unwrap_or_default()
            .contains("2 objects differ from Git");
        Ok((synced["reason"] == "GateOnly" && told).then_some(()))
    })?;
    let message = rows(stand, "shop", "shop")?["deny"]["message"].clone();
    assert!(
        message
            .as_str()
            .is_some_and(|text| text.contains("sync.enabled: false")),
        "{message}"
    );
    assert!(stand.get("networkpolicy/deny", Some("shop"))?.is_null());

    patch(json!({"sync": {"enabled": true}})).ok()?;
    stand.until("all to be in order", || {
        Ok((objects(stand, "shop", &[]).code == 1).then_some(()))
    })?;
    stand.kubectl(&["create", "namespace", "nowhere"]).ok()?;
    stand.until("all to be in order", || {
        Ok((objects(stand, "shop", &[]).code == 0).then_some(()))
    })?;
    let shop = rows(stand, "shop", "shop")?;
    assert_eq!(
        (&shop["deny"]["status"], &shop["web"]["status"]),
        (&json!("Synced"), &json!("Synced"))
    );
    Ok(())
}

/// Sources that speak for the same object.
fn overruled_and_at_odds(stand: &Stand) -> Outcome {
    stand
        .repository
        .write("rival/web.yaml", &allow_port("shop", "web", 443))?;
    stand.repository.write("rival/deny.yaml", &default_deny("shop"))?;
    stand.repository.commit("A rival")?;
    let spec = json!({"git": {"path": "rival"}, "scope": {"namespaces": ["shop"]}, "priority": 10});
    stand.add_source("rival", spec)?;
    stand.until("the rival to decide", || {
        let web = rows(stand, "shop", "shop")?["web"].clone();
        Ok((web["status"] == "Overridden").then_some(()))
    })?;
    let shop = rows(stand, "shop", "shop")?;
    assert_eq!(shop["web"]["message"], "PolicySource rival decides, by its priority 10");
    assert_eq!(shop["deny"]["message"], "PolicySource rival decides, and says the same");
    let equal = r#"{"spec": {"priority": 0}}"#;
    stand
        .kubectl(&["patch", "policysource", "rival", "--type=merge", "-p", equal])
        .ok()?;
    stand.until("the two to be at odds", || {
        let web = rows(stand, "shop", "shop")?["web"].clone();
        Ok((web["status"] == "Conflict").then_some(()))
    })?;
    assert_eq!(objects(stand, "rival", &[]).code, 1);
    stand.kubectl(&["delete", "policysource", "rival"]).ok().map(drop)
}

/// An object that the API server refuses.
fn failing(stand: &Stand) -> Outcome {
    let refuse = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "not-this-one"},
         "spec": {"matchConstraints": {"resourceRules": [{"apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"],
            "operations": ["CREATE", "UPDATE"], "resources": ["networkpolicies"]}]},
            "validations": [{"expression": "object.metadata.name != 'refused'", "message": "no policy of that name"}]}},
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
         "metadata": {"name": "not-this-one"}, "spec": {"policyName": "not-this-one", "validationActions": ["Deny"]}}]});
    stand.apply(&refuse.to_string()).ok()?;
    let probe = allow_port("shop", "refused", 80);
    stand.until("the policy to refuse", || {
        let said = stand.kubectl_with(&["create", "--dry-run=server", "-f", "-"], &probe);
        Ok(said.err.contains("no policy of that name").then_some(()))
    })?;
    stand.repository.write("shop/refused.yaml", &probe)?;
    commit(stand, "shop", "What the API server refuses")?;
    let row = stand.until("the failure to be told", || {
        let row = rows(stand, "shop", "shop")?.remove("refused");
        Ok(row.filter(|row| row["status"] == "Failing"))
    })?;
    let message = row["message"].as_str().unwrap_or_default();
    assert!(message.contains("no policy of that name"), "{row}");
    assert!(
        objects(stand, "shop", &[])
            .err
            .contains("Synced is False (WriteFailed)")
    );
    let status = stand.get("policysource/shop", None)?["status"]["failing"].clone();
    assert_eq!(
        status[0]["object"], "networkpolicy.networking.k8s.io/shop/refused",
        "{status}"
    );
    stand.repository.remove("shop/refused.yaml")?;
    commit(stand, "shop", "Without it")?;
    stand.until("the failure to be over", || {
        Ok(stand.get("policysource/shop", None)?["status"]["failing"]
            .is_null()
            .then_some(()))
    })
}

/// What is there in a namespace, and in which version.
fn versions(stand: &Stand, namespace: &str) -> Result<String, Failure> {
    let path =
        "jsonpath={range .items[*]}{.metadata.name} {.metadata.resourceVersion} {.metadata.generation}{\"\\n\"}{end}";
    stand
        .kubectl(&["get", "networkpolicies", "-n", namespace, "-o", path])
        .ok()
}

/// The loop's writes in a namespace, and the refusals there, so far.
fn noted(stand: &Stand, namespace: &str) -> Result<(usize, usize), Failure> {
    let count = |process: &str, outcomes: &[&str]| -> Result<usize, Failure> {
        let place = format!("/{namespace}/");
        let records = stand.records(process)?;
        let here = records
            .iter()
            .filter(|record| record["key"].as_str().is_some_and(|key| key.contains(&place)));
        Ok(here
            .filter(|record| outcomes.iter().any(|outcome| record["outcome"] == *outcome))
            .count())
    };
    let writes = count("sync", &["created", "replaced", "deleted", "failed"])?;
    Ok((writes, count("webhook", &["denied"])?))
}

/// That neither the loop nor the gate has anything left to do in a namespace: commits that say nothing of it come and go.
fn is_at_rest(stand: &Stand, namespace: &str) -> Outcome {
    let quiet = |round: u8| {
        stand.repository.write("policies/anchor/note.txt", &round.to_string())?;
        let commit = stand.repository.commit("Nothing in policy")?;
        stand.until_ready_at("platform", &commit)
    };
    // With the first one the loop has said that it is done.
    quiet(0)?;
    let before = (versions(stand, namespace)?, noted(stand, namespace)?);
    (1..4).try_for_each(quiet)?;
    assert_eq!((versions(stand, namespace)?, noted(stand, namespace)?), before);
    Ok(())
}

#[test]
fn a_rollback_converges_and_loop_and_gate_do_not_fight_over_it() -> Outcome {
    let stand = stand()?;
    let namespace = "at-rest";
    denied_namespace(&stand, namespace)?;
    let write = |port: u16| {
        let file = format!("policies/{namespace}/web.yaml");
        stand.repository.write(&file, &allow_port(namespace, "web", port))
    };
    write(80)?;
    let good = stand.repository.commit("Let the web in")?;
    stand.until_ready_at("platform", &good)?;
    write(81)?;
    stand.repository.write(
        &format!("policies/{namespace}/more.yaml"),
        &allow_port(namespace, "more", 1),
    )?;
    let bad = stand.repository.commit("Let the wrong port in, and more")?;
    stand.until_ready_at("platform", &bad)?;
    // One object created, one replaced.
    let (writes, refusals) = noted(&stand, namespace)?;

    source(&stand, &["pin", "platform", &good[..9]]).ok()?;
    stand.until_ready_at("platform", &good)?;
    let rolled_back = || {
        stand.until("the rollback", || {
            let port =
                stand.get("networkpolicy/web", Some(namespace))?["spec"]["ingress"][0]["ports"][0]["port"].clone();
            let is_gone = stand.get("networkpolicy/more", Some(namespace))?.is_null();
            Ok((port == 80 && is_gone).then_some(()))
        })
    };
    rolled_back()?;
    stand.until_ready_at("platform", &good)?;
    let before = (versions(&stand, namespace)?, noted(&stand, namespace)?);
    // The branch moves on meanwhile, and concerns nobody.
    stand.repository.write("policies/anchor/note.txt", "while pinned")?;
    stand.repository.commit("While it is pinned")?;
    stand.until("the gate at the pin", || {
        let said = stand.apply(&allow_port(namespace, "web", 81));
        Ok((!said.succeeded()).then_some(()))
    })?;
    let after = (versions(&stand, namespace)?, noted(&stand, namespace)?);
    assert_eq!(
        (&after.0, after.1.0),
        (&before.0, before.1.0),
        "only what was asked for just now is refused"
    );

    source(&stand, &["unpin", "platform"]).ok()?;
    stand.until("the tip again", || {
        Ok((!stand.get("networkpolicy/more", Some(namespace))?.is_null()).then_some(()))
    })?;
    is_at_rest(&stand, namespace)?;

    stand.repository.revert(&bad)?;
    let reverted = stand.repository.commit("After the revert")?;
    stand.until_ready_at("platform", &reverted)?;
    rolled_back()?;
    is_at_rest(&stand, namespace)?;
    // Three moves of two objects each, and not one write more.
    let (all, refused) = noted(&stand, namespace)?;
    assert_eq!(all - writes, 6);
    assert!(refused > refusals, "the one that was asked for on purpose");

    let said = source(&stand, &["history", "platform", "-o", "json"]).ok()?;
    let history: Vec<Value> = serde_json::from_str(&said)?;
    let steps: Vec<_> = history.iter().take(5).collect();
    let counts = |entry: &Value| {
        let number = |name: &str| entry[name].as_i64();
        (number("created"), number("changed"), number("removed"))
    };
    let numbers: Vec<_> = steps.iter().map(|entry| counts(entry)).collect();
    let (forth, back) = ((Some(1), Some(1), Some(0)), (Some(0), Some(1), Some(1)));
    assert_eq!(
        numbers,
        [back, forth, back, forth, (Some(1), Some(0), Some(0))],
        "{said}"
    );
    let pinned = steps[2];
    assert_eq!((&pinned["commit"], &pinned["pinned"]), (&json!(good), &json!(true)));
    assert_eq!((&pinned["commits"], &pinned["undone"]), (&json!(0), &json!(1)));
    assert_eq!((&steps[3]["commit"], &steps[3]["from"]), (&json!(bad), &json!(good)));
    assert_eq!(steps[3]["subject"], "Let the wrong port in, and more");
    assert_eq!(steps[3]["author"], "Ada Lovelace <ada@example.com>");
    let objects = json!([
        {"object": format!("networkpolicy.networking.k8s.io/{namespace}/more"), "change": "Created"},
        {"object": format!("networkpolicy.networking.k8s.io/{namespace}/web"), "change": "Changed"}]);
    assert_eq!(steps[3]["objects"], objects);
    assert!(steps.iter().all(|entry| entry["appliedAt"].is_string()), "{said}");
    let table = source(&stand, &["history", "platform", "-o", "wide"]).ok()?;
    assert!(
        table.contains("+networkpolicy.networking.k8s.io/at-rest/more") && table.contains(" (pinned)"),
        "{table}"
    );
    Ok(())
}

#[test]
fn a_source_is_made_or_only_shown_and_what_is_wrong_is_said() -> Outcome {
    let stand = stand()?;
    let url = stand.repository.url();
    let create = |more: &[&str]| source(&stand, &[&["create", "made", "--namespaces", "a,b-*"], more].concat());
    let client = create(&[
        "--url",
        &url,
        "--dry-run",
        "client",
        "-o",
        "yaml",
        "--deployer",
        "flux",
        "--prune",
        "Never",
    ])
    .ok()?;
    let shown: Value = serde_saphyr::from_str(&client)?;
    assert_eq!(shown["spec"]["scope"]["namespaces"], json!(["a", "b-*"]));
    assert_eq!(
        (&shown["spec"]["deployer"], &shown["spec"]["sync"]["enabled"]),
        (&json!("flux"), &json!(false))
    );
    // What is printed can be applied.
    let dry = stand.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], &client);
    assert!(dry.succeeded(), "{dry:?}");
    let server = create(&["--url", &url, "--dry-run", "server"]).ok()?;
    assert_eq!(server, "policysource.headgate.dev/made created (server dry run)\n");
    assert!(stand.get("policysource/made", None)?.is_null());
    let wrong = create(&["--url", "git.example.com/x"]);
    assert!(
        wrong.code == 1 && wrong.err.contains("spec.git.url") && wrong.err.contains("an https, http or file URL"),
        "{wrong:?}"
    );
    let again = source(&stand, &["create", "platform", "--url", &url]);
    assert!(again.code == 1 && again.err.contains("already exists"), "{again:?}");

    denied_namespace(&stand, "said")?;
    let hints = source(&stand, &["pin", "platform"]);
    assert!(
        hints.code == 2 && hints.err.contains("say which commit") && hints.err.contains("Deny everything in said"),
        "{hints:?}"
    );
    let unknown = source(&stand, &["pin", "platform", "0123456"]);
    assert!(
        unknown.code == 2 && unknown.err.contains("names no commit that begins with 0123456"),
        "{unknown:?}"
    );

    // A commit that is not on the branch is refused by the source, which goes on at its head.
    let head = stand.get("policysource/platform", None)?["status"]["head"]["commit"].clone();
    let foreign = "0123456789012345678901234567890123456789";
    source(&stand, &["pin", "platform", foreign]).ok()?;
    stand.until("the pin to be refused", || {
        let live = stand.get("policysource/platform", None)?;
        let accepted = condition(&live, "Accepted").cloned().unwrap_or_default();
        let told = accepted["message"]
            .as_str()
            .unwrap_or_default()
            .contains("is not on main");
        Ok((accepted["reason"] == "RefNotFound" && told).then_some(()))
    })?;
    assert_eq!(
        stand.get("policysource/platform", None)?["status"]["head"]["commit"],
        head
    );
    source(&stand, &["unpin", "platform"]).ok()?;
    stand.until_ready_at("platform", head.as_str().unwrap_or_default())?;
    source(&stand, &["unpin", "platform"]).ok().map(drop)
}
