//! The deliberate moves of a source: each changes its spec as who runs it; who may is RBAC's and the guard's to say.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::history;
use crate::cli::connect::ConnectArguments;
use crate::cli::output::{self, complain};
use crate::cli::{Ending, Failure};
use crate::gate::wording::inline;
use crate::source::PolicySource;

/// How long the API server may take for a call.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// Digits of a commit's id that are enough to mean one.
const FEWEST_DIGITS: usize = 7;

#[derive(Debug, Args)]
pub(super) struct NameArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// The source
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct PinArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// The source
    name: String,
    /// The commit: its full id, or the first digits of one that the source's history names. Left out, the history is shown
    #[arg(value_parser = digits)]
    commit: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct AcceptArguments {
    #[command(flatten)]
    connect: ConnectArguments,
    /// The source
    name: String,
    /// The commit: its full id, or the first digits of the one that waits
    #[arg(value_parser = digits)]
    commit: String,
}

fn digits(text: &str) -> Result<String, String> {
    let is_id = (FEWEST_DIGITS..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!(
            "a commit's id is needed, 40 hexadecimal digits or the first {FEWEST_DIGITS} and more; git rev-parse prints it"
        ))
    }
}

/// Rolls a source back to a commit.
pub(super) async fn pin(arguments: PinArguments) -> Result<Ending, Failure> {
    let api = sources(&arguments.connect).await?;
    let name = &arguments.name;
    let Some(commit) = arguments.commit else {
        let hints = history::text(&known(&api, name).await?, false);
        return Err(format!("say which commit to pin {name} to; its history:\n{hints}").into());
    };
    let commit = resolve(&api, name, commit).await?;
    let spec = json!({"git": {"ref": {"commit": commit}}});
    change(&api, name, spec, &format!("pinned to {commit}")).await
}

/// Lets a source follow its branch again.
pub(super) async fn unpin(arguments: NameArguments) -> Result<Ending, Failure> {
    let spec = json!({"git": {"ref": {"commit": null}}});
    change(&sources(&arguments.connect).await?, &arguments.name, spec, "unpinned").await
}

/// Accepts a commit that removes much.
pub(super) async fn accept(arguments: AcceptArguments) -> Result<Ending, Failure> {
    let api = sources(&arguments.connect).await?;
    let commit = resolve(&api, &arguments.name, arguments.commit).await?;
    let done = format!("accepts {commit}");
    change(&api, &arguments.name, json!({"accept": commit}), &done).await
}

/// Suspends a source, or lets it go on.
pub(super) async fn suspend(arguments: NameArguments, is_suspended: bool) -> Result<Ending, Failure> {
    let done = if is_suspended { "suspended" } else { "resumed" };
    let spec = json!({"suspend": is_suspended});
    change(&sources(&arguments.connect).await?, &arguments.name, spec, done).await
}

async fn sources(connect: &ConnectArguments) -> Result<Api<PolicySource>, Failure> {
    Ok(Api::all(connect.client().await?))
}

/// A source as the API server has it.
pub(super) async fn known(api: &Api<PolicySource>, name: &str) -> Result<PolicySource, Failure> {
    let source = answered(api.get_opt(name)).await??;
    source.ok_or_else(|| format!("there is no PolicySource \"{name}\"").into())
}

/// The full id of a commit, by what the source's status says of commits.
async fn resolve(api: &Api<PolicySource>, name: &str, digits: String) -> Result<String, Failure> {
    if digits.len() == 40 {
        return Ok(digits);
    }
    let ids = ids(&known(api, name).await?);
    let meant: Vec<&String> = ids.iter().filter(|id| id.starts_with(&digits)).collect();
    match meant.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(format!(
            "the status of {name} names no commit that begins with {digits}: write all 40 digits of its id (git rev-parse \
             {digits})"
        )
        .into()),
        _ => Err(format!("the status of {name} names several commits that begin with {digits}: write more digits").into()),
    }
}

/// Every commit that a source's status names: in force, formerly so, or waiting for a word.
fn ids(source: &PolicySource) -> BTreeSet<String> {
    let Some(status) = &source.status else {
        return BTreeSet::new();
    };
    let passed = status.history.iter().flat_map(|entry| [&entry.commit, &entry.from]);
    let head = status.head.iter().map(|head| &head.commit);
    let named = passed.chain(head).chain([&status.highest_head]).cloned();
    let told = status.conditions.iter().flat_map(|condition| {
        let words = condition.message.split(|c: char| !c.is_ascii_hexdigit());
        words.map(str::to_owned).collect::<Vec<_>>()
    });
    named.chain(told).filter(|id| id.len() == 40).collect()
}

async fn change(api: &Api<PolicySource>, name: &str, spec: Value, done: &str) -> Result<Ending, Failure> {
    let (patch, params) = (Patch::Merge(json!({"spec": spec})), PatchParams::default());
    match answered(api.patch(name, &params, &patch)).await? {
        Ok(_) => {
            output::print(&format!("policysource.headgate.dev/{name} {done}\n"))?;
            Ok(Ending::Clean)
        }
        Err(error) => refused(error),
    }
}

/// The API server's answer, and not for ever.
pub(super) async fn answered<T>(call: impl Future<Output = kube::Result<T>>) -> Result<kube::Result<T>, Failure> {
    tokio::time::timeout(PATIENCE, call)
        .await
        .map_err(|_| format!("the API server did not answer within {PATIENCE:?}").into())
}

/// What the API server refuses is found, not failed.
pub(super) fn refused(error: kube::Error) -> Result<Ending, Failure> {
    match error {
        kube::Error::Api(refusal) => {
            complain(&format!("error: {}", inline(&refusal.message)));
            Ok(Ending::Found)
        }
        error => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{PolicySourceSpec, PolicySourceStatus};

    #[test]
    fn commits_are_known_by_history_head_and_what_waits() -> Result<(), Failure> {
        let id = |digit: char| digit.to_string().repeat(40);
        let mut source = PolicySource::new("s", PolicySourceSpec::default());
        let waiting = id('d');
        source.status = Some(serde_json::from_value::<PolicySourceStatus>(json!({
            "head": {"commit": id('a')},
            "history": [{"commit": id('a'), "from": id('b'), "acceptedAt": "2026-01-01T00:00:00Z"}],
            "conditions": [{"type": "Accepted", "status": "False", "reason": "TooManyRemovals",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
                "message": format!("set spec.accept to {waiting}, or 1234567")}],
        }))?);
        assert_eq!(ids(&source), BTreeSet::from([id('a'), id('b'), waiting]));
        Ok(())
    }

    #[test]
    fn a_commit_is_named_by_digits_enough() {
        assert_eq!(digits("ABCDEF0"), Ok("abcdef0".to_owned()));
        for text in ["abc", "main", "abcdefg", &"a".repeat(41), ""] {
            assert!(digits(text).is_err(), "{text}");
        }
    }
}
