//! docs/operations.md: from a cluster that exists to one without Headgate.

use crate::stand::{Failure, Stand};
use crate::tour::Tour;
use crate::{Outcome, Trial, Trials};

pub(crate) const TRIALS: &Trials = &[
    (
        "Protecting Headgate itself",
        Trial::Elsewhere(&[
            "whatever_happens_to_headgates_own_objects_is_put_back_and_recorded",
            "an_upgrade_and_the_loop_agree",
        ]),
    ),
    (
        "Break-glass",
        Trial::Here {
            before: as_alice,
            after: without_alice,
        },
    ),
    (
        "Beginning with a cluster that exists",
        Trial::Here {
            before: in_an_empty_repository,
            after: nothing_was_written,
        },
    ),
    (
        "Who changed what Headgate trusts",
        Trial::Elsewhere(&["every_change_of_what_is_trusted_is_told_once_with_who_asked_and_nothing_secret"]),
    ),
    (
        "Rolling back",
        Trial::Here {
            before: after_a_bad_commit,
            after: at_the_tip_again,
        },
    ),
    (
        "A repository for each team",
        Trial::Here {
            before: with_a_teams_repository,
            after: nothing,
        },
    ),
    (
        "Moving to another cluster",
        Trial::Here {
            before: at_a_new_cluster,
            after: both_are_the_same,
        },
    ),
    (
        "Removing a source",
        Trial::Here {
            before: nothing,
            after: what_it_declared_is_gone,
        },
    ),
    (
        "Signed commits",
        Trial::Elsewhere(&[
            "an_unsigned_commit_is_not_accepted_and_the_signed_one_before_it_is_healed_towards",
            "what_a_listed_ssh_key_signed_is_accepted_as_git_accepts_it",
        ]),
    ),
    (
        "Uninstalling",
        Trial::Here {
            before: nothing,
            after: everybody_writes,
        },
    ),
    (
        "Certificates",
        Trial::Elsewhere(&["a_rotation_under_load_refuses_no_valid_request_whoever_leads"]),
    ),
    (
        "Upgrading Calico",
        Trial::Elsewhere(&["calico_makes_its_tiers_while_the_webhook_is_away_and_the_loop_mends_them"]),
    ),
];

const SHOP: [(&str, &str); 3] = [("shop", "deny"), ("shop", "web"), ("pay", "deny")];

/// A policy that lets in a port, or nothing where that is 0.
pub(crate) fn policy(namespace: &str, name: &str, port: u16) -> String {
    let rest = if port == 0 {
        String::new()
    } else {
        format!("  ingress: [{{ports: [{{port: {port}}}]}}]\n")
    };
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec:\n  podSelector: {{}}\n  policyTypes: [Ingress]\n{rest}"
    )
}

/// The port that a live policy lets in.
pub(crate) fn port(stand: &Stand, namespace: &str, name: &str) -> Result<Option<u64>, Failure> {
    let live = stand.get(&format!("networkpolicy/{name}"), Some(namespace))?;
    Ok(live["spec"]["ingress"][0]["ports"][0]["port"].as_u64())
}

/// Everything guarded that the cluster holds, as files.
fn exported(tour: &mut Tour) -> Result<String, Failure> {
    tour.quietly("headgate export --kinds networkpolicy.networking.k8s.io 2>/dev/null || true")
}

/// A cluster that people have worked with, and Headgate just installed in it.
pub(crate) fn begin() -> Result<Tour, Failure> {
    let tour = Tour::on(Stand::new()?)?;
    let stand = &tour.stand;
    for (namespace, name) in SHOP {
        if stand.get(&format!("namespace/{namespace}"), None)?.is_null() {
            stand.kubectl(&["create", "namespace", namespace]).ok()?;
        }
        let lets_in = if name == "web" { 80 } else { 0 };
        stand.apply(&policy(namespace, name, lets_in)).ok()?;
    }
    stand.kubectl(&["create", "configmap", "web", "-n", "shop"]).ok()?;
    let owner = stand.get("configmap/web", Some("shop"))?;
    let owner = format!(
        "metadata: {{ownerReferences: [{{apiVersion: v1, kind: ConfigMap, name: web, uid: {}}}], name: made-for-web,",
        owner["metadata"]["uid"]
    );
    let made = policy("shop", "made-for-web", 8080).replace("metadata: {name: made-for-web,", &owner);
    stand.apply(&made).ok()?;
    install(tour)
}

pub(crate) fn install(mut tour: Tour) -> Result<Tour, Failure> {
    tour.quietly("helm install headgate charts/headgate -n headgate-system --create-namespace")?;
    tour.run_installed()?;
    Ok(tour)
}

#[expect(clippy::unnecessary_wraps, reason = "what comes before or after a section may fail")]
fn nothing(_: &mut Tour) -> Outcome {
    Ok(())
}

fn as_alice(tour: &mut Tour) -> Outcome {
    tour.stand.kubectl(&["create", "namespace", "payments"]).ok()?;
    tour.make_repository("payments/early.git", "early")?;
    tour.write("allow-web.yaml", &policy("payments", "allow-web", 80))?;
    let commit = tour.push("Let the web in")?;
    tour.quietly(
        "headgate source create early --url https://git.example.com/payments/early.git --namespaces payments",
    )?;
    tour.stand.until_ready_at("early", &commit)?;
    for role in ["cluster-admin", "headgate-break-glass"] {
        let role = format!("--clusterrole={role}");
        let name = role.replace("--clusterrole=", "alice-");
        tour.stand
            .kubectl(&["create", "clusterrolebinding", &name, &role, "--user=alice"])
            .ok()?;
    }
    let alice = tour.stand.plane.kubeconfig_for_user("alice", &[])?;
    tour.quietly(&format!("export KUBECONFIG={}", alice.display()))
        .map(drop)
}

fn without_alice(tour: &mut Tour) -> Outcome {
    tour.stand.until("alice to step around Git", || {
        let open = r#"{"spec":{"ingress":[{"ports":[{"port":8443,"protocol":"TCP"}]}]}}"#;
        let arguments = [
            "-n",
            "payments",
            "patch",
            "networkpolicy",
            "allow-web",
            "--type=merge",
            "-p",
            open,
        ];
        let mut kubectl = tour.stand.plane.kubectl();
        let mine = kubectl.args(arguments).arg("--as=alice").output()?;
        Ok(mine.status.success().then_some(()))
    })?;
    tour.at_this_cluster()?;
    tour.quietly("kubectl delete policygrant --all")?;
    tour.stand.until("Git to be back", || {
        Ok((port(&tour.stand, "payments", "allow-web")? == Some(80)).then_some(()))
    })?;
    tour.quietly("kubectl delete policysource early && kubectl delete namespace payments --timeout=60s")
        .map(drop)
}

fn in_an_empty_repository(tour: &mut Tour) -> Outcome {
    tour.make_repository("acme/policies.git", "policies")
}

fn nothing_was_written(tour: &mut Tour) -> Outcome {
    for (namespace, name) in SHOP {
        let live = tour.stand.get(&format!("networkpolicy/{name}"), Some(namespace))?;
        assert_eq!(live["metadata"]["generation"], 1, "{live}");
    }
    Ok(())
}

fn after_a_bad_commit(tour: &mut Tour) -> Outcome {
    for lets_in in [443, 6666] {
        tour.write(
            "clusters/prod/shop/web.networkpolicy.networking.k8s.io.yaml",
            &policy("shop", "web", lets_in),
        )?;
        let commit = tour.push("Another port")?;
        tour.stand.until_ready_at("platform", &commit)?;
    }
    assert_eq!(port(&tour.stand, "shop", "web")?, Some(6666));
    Ok(())
}

fn at_the_tip_again(tour: &mut Tour) -> Outcome {
    let tip = tour.quietly("git rev-parse HEAD")?;
    tour.stand.until_ready_at("platform", tip.trim())?;
    assert_eq!(port(&tour.stand, "shop", "web")?, Some(443));
    Ok(())
}

fn with_a_teams_repository(tour: &mut Tour) -> Outcome {
    tour.stand.kubectl(&["create", "namespace", "payments"]).ok()?;
    tour.make_repository("payments/policies.git", "payments")?;
    tour.write("deny.yaml", &policy("payments", "deny", 0))?;
    tour.push("Deny").map(drop)
}

fn at_a_new_cluster(tour: &mut Tour) -> Outcome {
    tour.stand.until("the team's policy", || {
        Ok((!tour.stand.get("networkpolicy/deny", Some("payments"))?.is_null()).then_some(()))
    })?;
    let other = Stand::new()?;
    for namespace in ["shop", "pay"] {
        other.kubectl(&["create", "namespace", namespace]).ok()?;
    }
    tour.go_to(other)?;
    tour.quietly("cd").map(drop)
}

fn both_are_the_same(tour: &mut Tour) -> Outcome {
    let new = exported(tour)?;
    tour.go_back()?;
    let old = exported(tour)?;
    let (old_web, new_web) = (old.matches("port: 443").count(), new.matches("port: 443").count());
    assert_eq!((old_web, new_web), (1, 1), "{old}\n---\n{new}");
    for document in new.split("---\n").map(str::trim) {
        assert!(old.contains(document), "{document} is not in {old}");
    }
    assert_eq!(new.split("---\n").count(), SHOP.len(), "{new}");
    Ok(())
}

fn what_it_declared_is_gone(tour: &mut Tour) -> Outcome {
    for (namespace, name) in SHOP {
        assert!(
            tour.stand
                .get(&format!("networkpolicy/{name}"), Some(namespace))?
                .is_null()
        );
    }
    for (namespace, name) in [("payments", "deny"), ("shop", "made-for-web")] {
        assert!(
            !tour
                .stand
                .get(&format!("networkpolicy/{name}"), Some(namespace))?
                .is_null()
        );
    }
    Ok(())
}

fn everybody_writes(tour: &mut Tour) -> Outcome {
    tour.stand.apply(&policy("shop", "mine", 22)).ok()?;
    let left = tour
        .stand
        .kubectl(&["get", "validatingadmissionpolicies,clusterroles", "-o", "name"])
        .ok()?;
    assert!(!left.contains("headgate"), "{left}");
    Ok(())
}
