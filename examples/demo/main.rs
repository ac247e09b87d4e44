//! Headgate at work: `make demo` shows it, `make demo-check` fails if any step does not go as told.
#![expect(clippy::print_stdout, reason = "the demo speaks to the person at the terminal")]
#![expect(clippy::indexing_slicing, reason = "an absent member of a JSON value reads as null")]

#[path = "../../tests/controlplane/mod.rs"]
mod controlplane;
#[path = "../../tests/stand/mod.rs"]
mod stand;

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use serde_json::json;
use stand::{Failure, Stand};

type Outcome = Result<(), Failure>;

const DENY: &str = "networkpolicy/default-deny";
const OPEN: &str = r#"{"spec":{"ingress":[{}]}}"#;

fn main() -> Outcome {
    let check = std::env::args().any(|argument| argument == "--check");
    let voice = Voice {
        colour: std::io::stdout().is_terminal(),
    };
    voice.title("Starting a control plane (the first time it is built from source, which takes some minutes)");
    let stand = Stand::new()?;
    voice.title("Installing Headgate: the resource, a certificate, the program, the webhook configuration");
    stand.serve("")?;
    let commit = declare_samples(&stand, &voice)?;
    show_refusals(&stand, &voice)?;
    show_commit(&stand, &voice, &commit)?;
    show_healing(&stand, &voice)?;
    voice.title("Everything went as told");
    if check {
        return Ok(());
    }
    let kubeconfig = stand.plane.kubeconfig().display();
    println!("It goes on running. Try it in another terminal:\n");
    println!("  export KUBECONFIG={kubeconfig}");
    println!(
        "  {} -n payments edit networkpolicy default-deny\n",
        stand.plane.bin("kubectl").display()
    );
    println!("Ctrl-C ends it and cleans up.");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(tokio::signal::ctrl_c())?;
    voice.title("Cleaning up");
    Ok(())
}

fn declare_samples(stand: &Stand, voice: &Voice) -> Result<String, Failure> {
    voice.title("A repository with two policies, and a PolicySource for it");
    stand.kubectl(&["create", "namespace", "payments"]).ok()?;
    for (name, text) in [
        ("default-deny", include_str!("../policies/payments/default-deny.yaml")),
        ("allow-web", include_str!("../policies/payments/allow-web.yaml")),
    ] {
        stand.repository.write(&format!("payments/{name}.yaml"), text)?;
    }
    let commit = stand
        .repository
        .commit("Close the payments namespace, but for the shop")?;
    let start = Instant::now();
    stand.add_source("payments", json!({"scope": {"namespaces": ["payments", "pay-*"]}}))?;
    stand.until_ready_at("payments", &commit)?;
    voice.done("the cluster is what the repository says", start.elapsed());
    voice.command("kubectl get policysources");
    voice.output(&stand.kubectl(&["get", "policysources"]).ok()?);
    voice.output(&stand.kubectl(&["get", "networkpolicies", "-n", "payments"]).ok()?);
    Ok(commit)
}

fn show_refusals(stand: &Stand, voice: &Voice) -> Outcome {
    voice.title(
        "An administrator opens the default deny: \"ingress: [{}]\" lets everything in, and deployers do not notice",
    );
    voice.command(&format!("kubectl -n payments patch {DENY} --type=merge -p '{OPEN}'"));
    let said = stand
        .kubectl(&["patch", DENY, "-n", "payments", "--type=merge", "-p", OPEN])
        .refused()?;
    voice.refusal(&said);
    expect(
        &said,
        &["differs from Git", "payments/default-deny.yaml", "spec.ingress"],
    )?;

    voice.title("An administrator deletes it");
    voice.command(&format!("kubectl -n payments delete {DENY}"));
    let said = stand.kubectl(&["delete", DENY, "-n", "payments"]).refused()?;
    voice.refusal(&said);
    expect(&said, &["still declared in Git"])
}

fn show_commit(stand: &Stand, voice: &Voice, before: &str) -> Outcome {
    voice.title("The way it is meant: a commit moves the API to port 8443");
    let text = include_str!("../policies/payments/allow-web.yaml").replace("port: 443", "port: 8443");
    stand.repository.write("payments/allow-web.yaml", &text)?;
    let commit = stand.repository.commit("Move the payment API to port 8443")?;
    let start = Instant::now();
    stand.until("the commit to be applied", || {
        let policy = stand.get("networkpolicy/allow-web", Some("payments"))?;
        Ok((policy["spec"]["ingress"][0]["ports"][0]["port"] == 8443).then_some(()))
    })?;
    voice.done(
        "the new port is in force; the repository is looked at every second here",
        start.elapsed(),
    );
    stand.until_ready_at("payments", &commit)?;
    if commit == before {
        return Err("the commit did not move".into());
    }
    Ok(())
}

fn show_healing(stand: &Stand, voice: &Voice) -> Outcome {
    voice.title("Behind the gate's back: the webhook configuration is taken away, and the policies are changed");
    let gate = stand.get("validatingwebhookconfiguration/headgate", None)?;
    stand
        .kubectl(&["delete", "validatingwebhookconfiguration", "headgate"])
        .ok()?;
    stand.until("the API server to forget the webhook", || {
        let opened = stand.kubectl(&[
            "patch",
            DENY,
            "-n",
            "payments",
            "--type=merge",
            "-p",
            OPEN,
            "--dry-run=server",
        ]);
        Ok(opened.succeeded().then_some(()))
    })?;
    voice.command(&format!("kubectl -n payments patch {DENY} --type=merge -p '{OPEN}'"));
    stand
        .kubectl(&["patch", DENY, "-n", "payments", "--type=merge", "-p", OPEN])
        .ok()?;
    let start = Instant::now();
    stand.until("the opened policy to be closed again", || {
        Ok(stand.get(DENY, Some("payments"))?["spec"]["ingress"]
            .is_null()
            .then_some(()))
    })?;
    voice.done(
        "the opened policy is closed again (seen by kubectl, which takes its time)",
        start.elapsed(),
    );
    voice.command(&format!("kubectl -n payments delete {DENY}"));
    stand.kubectl(&["delete", DENY, "-n", "payments"]).ok()?;
    let start = Instant::now();
    stand.until("the deleted policy to come back", || {
        Ok((!stand.get(DENY, Some("payments"))?.is_null()).then_some(()))
    })?;
    voice.done("the deleted policy is back", start.elapsed());
    put_back(stand, gate)
}

fn put_back(stand: &Stand, mut gate: serde_json::Value) -> Outcome {
    for field in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "generation",
        "managedFields",
    ] {
        gate["metadata"]
            .as_object_mut()
            .and_then(|metadata| metadata.remove(field));
    }
    stand.kubectl_with(&["create", "-f", "-"], &gate.to_string()).ok()?;
    stand.until("the gate to be back", || {
        let opened = stand.kubectl(&[
            "patch",
            DENY,
            "-n",
            "payments",
            "--type=merge",
            "-p",
            OPEN,
            "--dry-run=server",
        ]);
        Ok((!opened.succeeded()).then_some(()))
    })
}

fn expect(said: &str, parts: &[&str]) -> Outcome {
    match parts.iter().find(|part| !said.contains(**part)) {
        Some(missing) => Err(format!("the refusal does not say \"{missing}\":\n{said}").into()),
        None => Ok(()),
    }
}

/// Speaks with colour to a terminal, and without it to a pipe.
struct Voice {
    colour: bool,
}

impl Voice {
    fn title(&self, text: &str) {
        println!("\n{}", self.paint("1;36", &format!("── {text}")));
    }

    fn command(&self, text: &str) {
        println!("{}", self.paint("1", &format!("$ {text}")));
    }

    fn output(&self, text: &str) {
        println!("{}", self.paint("2", text.trim_end()));
    }

    fn refusal(&self, text: &str) {
        println!("{}", self.paint("31", text.trim_end()));
    }

    fn done(&self, text: &str, took: Duration) {
        println!("{}", self.paint("32", &format!("{text}: {:.2} s", took.as_secs_f64())));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}
