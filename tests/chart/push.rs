//! The push endpoint in the chart: not there unless it is asked for.

use serde_json::{Value, json};

use crate::tools::*;

const TLS: &[&str] = &[
    "--set=push.enabled=true",
    "--set=push.tls.secretName=headgate-example-com",
    "--set=push.service.type=LoadBalancer",
];

fn container<'a>(objects: &'a [Value], role: &str) -> Result<&'a Value, Error> {
    let deployment = named(objects, "Deployment", &format!("headgate-{role}"))?;
    Ok(at(deployment, "/spec/template/spec/containers/0"))
}

fn arguments(container: &Value) -> Vec<&str> {
    all(container, "/args").filter_map(Value::as_str).collect()
}

#[test]
fn nobody_listens_for_pushes_unless_the_values_say_so() -> TestResult {
    let objects = render(&[])?;
    assert!(named(&objects, "Service", "headgate-push").is_err());
    for role in ["webhook", "sync"] {
        let container = container(&objects, role)?.to_string();
        assert!(!container.contains("push"), "{container}");
    }
    Ok(())
}

#[test]
fn the_sync_loop_takes_pushes_at_a_service_of_its_own_and_the_webhook_does_not() -> TestResult {
    for (values, port, target) in [(PUSH, 80, "http"), (TLS, 443, "https")] {
        let objects = render(values)?;
        let service = named(&objects, "Service", "headgate-push")?;
        assert_eq!(at(service, "/spec/ports/0/port"), port);
        assert_eq!(at(service, "/spec/ports/0/appProtocol"), target);
        assert_eq!(at(service, "/spec/selector/app.kubernetes.io~1component"), "sync");
        let sync = container(&objects, "sync")?;
        assert!(arguments(sync).contains(&"--push-listen=[::]:8090"), "{sync}");
        assert!(all(sync, "/ports").any(|port| *port == json!({"name": "push", "containerPort": 8090})));
        assert!(!container(&objects, "webhook")?.to_string().contains("push"));
        let mounted = all(sync, "/volumeMounts").any(|mount| at(mount, "/mountPath") == "/etc/headgate/push-certs");
        assert_eq!(mounted, values == TLS);
        assert_eq!(
            arguments(sync).contains(&"--push-certs=/etc/headgate/push-certs"),
            mounted
        );
        // Arguments are read one after the other, so help is what one gets when all before it were understood.
        let mut headgate = std::process::Command::new(env!("CARGO_BIN_EXE_headgate"));
        succeed(headgate.args(arguments(sync)).arg("--help"), "")?;
    }
    Ok(())
}

#[test]
fn pushes_that_would_go_in_the_clear_or_nowhere_are_refused_when_they_are_asked_for() -> TestResult {
    for (values, named) in [
        ("push.service.type=LoadBalancer", "push.tls.secretName"),
        ("push.prt=80", "prt"),
        ("certificates.mode=generate,sync.replicas=0", "sync.replicas"),
    ] {
        let values = format!("--set=push.enabled=true,{values}");
        let error = fail(helm(cluster()?, "template headgate", &[&values]).arg(CHART), "")?;
        assert!(error.contains(named), "{values}: {error}");
    }
    Ok(())
}
