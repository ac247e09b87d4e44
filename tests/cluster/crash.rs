//! kill -9 in the middle of a sync, over and over.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use crate::policies::allow_port;
use crate::stand::{Failure, NAMESPACE, OWN_MANIFESTS, Stand};
use crate::{Outcome, denied_namespace, stand};

const ROUNDS: u16 = 50;
const KEPT: usize = 10;
const NAME: &str = "crash";

/// The policies of the namespace and the port that each lets in; none for what lets in nothing.
async fn live(policies: &Api<NetworkPolicy>) -> Result<BTreeMap<String, Option<u64>>, Failure> {
    let found = policies.list(&ListParams::default()).await?;
    let ports = found.into_iter().map(|policy| {
        let name = policy.name_any();
        let spec = serde_json::to_value(policy.spec)?;
        Ok((name, spec["ingress"][0]["ports"][0]["port"].as_u64()))
    });
    ports.collect()
}

/// Ten policies that every commit has, each time with another port, and five whose names are new each time.
fn commit(stand: &Stand, round: u16) -> Result<(String, BTreeMap<String, Option<u64>>), Failure> {
    let port = 8000 + round;
    let mut expected = BTreeMap::from([("deny".to_owned(), None)]);
    let mut declare = |file: String, name: String| {
        stand
            .repository
            .write(&format!("policies/{NAME}/{file}.yaml"), &allow_port(NAME, &name, port))?;
        expected.insert(name, Some(u64::from(port)));
        Ok::<_, Failure>(())
    };
    for number in 0..KEPT {
        declare(format!("kept-{number}"), format!("kept-{number}"))?;
    }
    for number in 0..5 {
        declare(format!("renamed-{number}"), format!("round-{round}-{number}"))?;
    }
    Ok((stand.repository.commit(&format!("Round {round}"))?, expected))
}

#[test]
fn fifty_crashes_in_the_middle_of_a_sync_leave_what_the_next_start_mends() -> Outcome {
    let stand = stand()?;
    denied_namespace(&stand, NAME)?;
    let (first, _) = commit(&stand, 0)?;
    stand.until_ready_at("platform", &first)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let kubeconfig = runtime.block_on(stand.plane.kubeconfig_for_service_account(NAMESPACE, "headgate-sync"))?;
    let policies: Api<NetworkPolicy> = Api::namespaced(runtime.block_on(stand.plane.client())?, NAME);
    let look = || runtime.block_on(live(&policies));
    stand.plane.kill_beside("sync")?;
    let mut in_the_middle = 0;
    for round in 1..=ROUNDS {
        let (_, expected) = commit(&stand, round)?;
        // Without a lease: the one of the killed process would have to run out each time.
        stand.run("sync", "sync", &kubeconfig, &["--own-manifests", OWN_MANIFESTS])?;
        let enough = usize::from(round) % (expected.len() / 2) + 1;
        stand.until("some of the commit to be applied", || {
            let now = look()?;
            let done = expected
                .iter()
                .filter(|(name, port)| now.get(*name) == Some(port))
                .count();
            Ok((done > enough).then_some(()))
        })?;
        stand.plane.kill_beside("sync")?;
        let now = look()?;
        in_the_middle += u16::from(now != expected);
        let kept = now
            .keys()
            .filter(|name| name.starts_with("kept-") || *name == "deny")
            .count();
        assert_eq!(kept, KEPT + 1, "what both commits have is there: {now:?}");
        let renamed = now.keys().filter(|name| name.starts_with("round-")).count();
        assert!(renamed >= 5, "there is one name or the other of each: {now:?}");
    }
    assert!(
        in_the_middle > ROUNDS / 5,
        "{in_the_middle} of {ROUNDS} crashes came in the middle"
    );
    let (last, expected) = commit(&stand, ROUNDS + 1)?;
    stand.run_sync(&kubeconfig)?;
    stand.until_ready_at("platform", &last)?;
    assert_eq!(look()?, expected);
    Ok(())
}
