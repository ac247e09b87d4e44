//! Files that real servers were given (the validation vectors) and files that people wrote (the corpus), read as
//! manifests: what every server accepts is not refused, what one refuses is found, and nothing makes the reader fail.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "a test"
)]
#![allow(unreachable_pub, dead_code, reason = "the recordings are shared by several tests")]

mod recorded;

use std::path::{Path, PathBuf};

use headgate::policy::Severity;
use headgate::policy::manifest::{Parsed, parse};
use serde_json::Value;

/// Accepted by both servers, and refused in Git, each for a reason of its own.
const REFUSED_IN_GIT: &[(&str, &str)] = &[
    (
        "rules-type/gnp-egress-empty",
        "means another thing in each of Calico's modes",
    ),
    (
        "annotations/np-calico-metadata",
        "the annotation is Calico's own bookkeeping, and forged",
    ),
    (
        "-value-null",
        "kubectl apply drops what other clients send as an empty string",
    ),
    (
        "tier-builtin/default-no-order",
        "comes before the default tier in one of Calico's modes, and last in the other",
    ),
    (
        "tier-order/null",
        "comes before the default tier in one of Calico's modes, and last in the other",
    ),
    (
        "tier-spec/empty",
        "comes before the default tier in one of Calico's modes, and last in the other",
    ),
    ("metadata/generateName", "gives another object each time"),
    (
        "metadata/namespace-absent",
        "the server took it from the request's path",
    ),
    ("json/lone-surrogate", "half a character is no text"),
    // No server checks a StagedKubernetesNetworkPolicy; what networking.k8s.io refuses could never be enforced.
    ("sknp/matchLabels-bad", "no label can be so"),
    ("sknp/expression-", "networking.k8s.io refuses the expression"),
    ("sknp/from-", "networking.k8s.io refuses the peer"),
    ("sknp/port-", "networking.k8s.io refuses the port"),
    ("sknp/endPort-alone", "networking.k8s.io refuses the port"),
    ("sknp/protocol-", "networking.k8s.io refuses the protocol"),
    ("sknp/policyTypes-lower", "networking.k8s.io refuses the type"),
];

/// Refused by a server, and accepted in Git.
const ACCEPTED_IN_GIT: &[(&str, &str)] = &[
    ("/float-", "kubectl, and Headgate, send 80.0 as 80"),
    ("/type-float-whole", "kubectl, and Headgate, send 80.0 as 80"),
    ("tier/", "which tiers exist is the cluster's to say"),
    (
        "metadata/namespace-missing-one",
        "which namespaces exist is the cluster's to say",
    ),
    ("document/status", "`status` is the server's, and not sent"),
    (
        "document/apiVersion-crd-v1",
        "was sent to the wrong path; Git may hold either group",
    ),
    ("json/array", "a list is no object, and listed as ignored"),
    ("json/trailing-comma", "a YAML file may begin with { too"),
    ("json/bom", "files may begin with a byte order mark"),
];

fn is_refused(parsed: &Parsed) -> bool {
    parsed
        .problems
        .iter()
        .any(|problem| problem.severity == Severity::Error)
}

/// Whether this server takes the manifest, unknown fields refused. A conflict is not the manifest's fault.
fn accepts(server: &Value) -> bool {
    let strict = server["strict"]["code"].as_u64().or_else(|| server["code"].as_u64());
    matches!(strict, Some(200 | 201 | 409))
}

#[test]
fn git_refuses_what_a_server_refuses_and_nothing_else() {
    let Some(path) = recorded::shared("vectors/calico-validation.jsonl") else {
        return;
    };
    let (mut agreed, mut excepted) = (0, 0);
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let case = line["case"].as_str().unwrap();
        let text = line["input_text"]
            .as_str()
            .map_or_else(|| line["input"].to_string(), str::to_owned);
        let accepted = accepts(&line["aggregated_v3_32_1"]) && accepts(&line["native_v3_32_1"]);
        let parsed = parse(text.as_bytes());
        if accepted != is_refused(&parsed) {
            agreed += 1;
            continue;
        }
        let exceptions = if accepted { REFUSED_IN_GIT } else { ACCEPTED_IN_GIT };
        let known = exceptions.iter().any(|(part, _)| case.contains(part));
        assert!(
            known,
            "{case}: accepted by both servers: {accepted}\n{text}\n{:#?}",
            parsed.problems
        );
        excepted += 1;
    }
    eprintln!("{agreed} vectors agree, {excepted} are exceptions");
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in recorded::entries(folder) {
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_file_of_the_corpus_is_read() {
    let Some(root) = recorded::shared("corpus") else {
        return;
    };
    let mut files = Vec::new();
    files_below(&root, &mut files);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let (mut manifests, mut ignored, mut refused) = (0, 0, 0);
    for file in &files {
        let parsed = parse(&std::fs::read(file).unwrap());
        manifests += parsed.manifests.len();
        ignored += parsed.ignored.len();
        refused += usize::from(is_refused(&parsed));
        let found = parsed.manifests.len() + parsed.ignored.len() + parsed.problems.len();
        assert!(found > 0, "{} holds nothing", file.display());
        for problem in &parsed.problems {
            assert!(
                problem.line > 0 && problem.column > 0 && !problem.message.is_empty(),
                "{}",
                file.display()
            );
        }
    }
    eprintln!(
        "{} files: {manifests} manifests, {ignored} other documents, {refused} files refused",
        files.len()
    );
    assert!(manifests > 800, "{manifests}");
}

#[test]
fn the_documentation_gives_every_reason() {
    let documentation = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/check.md")).unwrap();
    for (case, reason) in REFUSED_IN_GIT.iter().chain(ACCEPTED_IN_GIT) {
        assert!(
            documentation.contains(reason),
            "docs/check.md does not say, of {case}: {reason}"
        );
    }
}
