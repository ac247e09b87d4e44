//! Deletions of namespaces: decided, worded and recorded like everything else, about an object that has no key.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::handler::{Gate, REFRESH_PATIENCE, outcome};
use crate::gate::answer::bare_annotations;
use crate::gate::decision::{Lenience, Reason, Verdict};
use crate::gate::wording;
use crate::gate::{Answer, Declarer, GrantSet, NamespaceDeletion, Operation, decide_namespace};
use crate::ledger::{Record, Subject};
use crate::source::SourceState;

impl Gate {
    /// The answer to the deletion of a namespace. Before a refusal, one shared fetch: the commit that emptied the
    /// namespace may be a second old.
    pub(super) async fn judge_namespace(&self, deletion: &NamespaceDeletion, arrived: Instant) -> Answer {
        let desired = self.keeper.desired();
        let terminating = HashSet::new();
        // Grants name guarded objects, and a namespace is none.
        let grants = GrantSet::default();
        let (verdict, declarers) = decide_namespace(deletion, self.basis(&desired, &grants, &terminating));
        let reaching = |source: &&Arc<SourceState>| source.settings.coverage.reaches(&deletion.name);
        let reaching = || desired.sources().iter().filter(reaching);
        if verdict.reason.allows() {
            let awaited = self.awaited(reaching().map(Arc::as_ref));
            if !verdict.reason.rests_on_head() || awaited.is_empty() {
                return self.conclude_namespace(deletion, &verdict, &declarers);
            }
            self.keeper.catch_up(&awaited).await;
            let desired = self.keeper.desired();
            let (verdict, declarers) = decide_namespace(deletion, self.basis(&desired, &grants, &terminating));
            return self.conclude_namespace(deletion, &verdict, &declarers);
        }
        let sources: Vec<Arc<str>> = reaching().map(|source| Arc::clone(&source.name)).collect();
        // In Audit nobody waits.
        let patience = if verdict.lenience == Some(Lenience::Audit) {
            Duration::ZERO
        } else {
            REFRESH_PATIENCE
        };
        self.keeper.refresh(&sources, arrived, patience).await;
        let desired = self.keeper.desired();
        let (verdict, declarers) = decide_namespace(deletion, self.basis(&desired, &grants, &terminating));
        self.conclude_namespace(deletion, &verdict, &declarers)
    }

    fn conclude_namespace(
        &self,
        deletion: &NamespaceDeletion,
        verdict: &Verdict<'_>,
        declarers: &[Declarer<'_>],
    ) -> Answer {
        self.metrics.judged(Operation::Delete, verdict, deletion.dry_run);
        let mut annotations = bare_annotations(verdict.reason);
        if let Some(source) = verdict.source {
            annotations.insert("source", source.name.to_string());
        }
        let uid = deletion.uid.clone();
        // A namespace that nothing is declared in is nobody's business.
        if verdict.reason.allows() {
            return Answer::allow(uid, Vec::new(), annotations);
        }
        let text = wording::namespace_denial(&deletion.name, verdict.reason, declarers);
        self.record_namespace(deletion, verdict, &text);
        if verdict.allowed {
            annotations.insert("would-deny", "true".to_owned());
            return Answer::allow(uid, vec![wording::would_deny(verdict.lenience, &text)], annotations);
        }
        Answer::deny(uid, text, annotations)
    }

    fn record_namespace(&self, deletion: &NamespaceDeletion, verdict: &Verdict<'_>, text: &str) {
        let reason: Reason = verdict.reason;
        let head = verdict.source.and_then(|source| source.head.as_ref());
        let first = text.lines().next().unwrap_or_default();
        self.ledger.record(Record {
            user: Some(deletion.user.clone()),
            operation: Some(Operation::Delete),
            namespace: Some(deletion.name.clone()),
            dry_run: deletion.dry_run,
            review: Some(deletion.uid.clone()),
            source: verdict.source.map(|source| source.name.to_string()),
            commit: head.map(|head| head.commit.id.clone()),
            ..Record::new(
                Timestamp::now(),
                Subject::Verdict,
                outcome(verdict),
                reason.as_str(),
                first.to_owned(),
            )
        });
    }
}
