//! Has the steps carried out in their turn, and deals with what becomes of them.

use std::time::Instant;

use super::{ECHO_PATIENCE, Engine, Flight, record};
use crate::policy::{Family, Key, Rank};
use crate::sync::apply::{Deed, Job, WriteError};
use crate::sync::metrics::WriteOutcome;
use crate::sync::plan::{self, FIRST_DELETE, Finding, Step};
use crate::sync::progress::action;

impl Engine {
    pub(super) fn begin_writes(&mut self) {
        // Nothing that is begun here fails before the loop is back at its select.
        let mut pending = None;
        while self.flights.len() < self.parts.concurrency {
            let Some(((turn, ..), key)) = self.queue.first().cloned() else {
                return;
            };
            // What is to be deleted may be replaced by what is still to be written.
            let writes_pending = turn >= FIRST_DELETE && *pending.get_or_insert_with(|| self.is_write_pending());
            if writes_pending || self.flights.values().any(|flight| flight.turn < turn) {
                return;
            }
            let since = self.queued.get(&key).and_then(|(_, since)| *since);
            self.unqueue(&key);
            let finding = plan::judge(&key, &self.scene());
            match finding.turn(key.kind()) {
                Some(due) if due == turn => self.begin_write(key, turn, finding, since),
                Some(due) => self.enqueue(key, due, since),
                None => self.keep(key, finding),
            }
        }
    }

    /// Whether something that could not be written just now is to be tried again soon. A delete that failed holds up no
    /// other, and not itself.
    fn is_write_pending(&self) -> bool {
        self.setbacks.iter().any(|(key, setback)| {
            let turn = self.findings.get(key).and_then(|finding| finding.turn(key.kind()));
            setback.comes_soon() && turn.is_some_and(|turn| turn < FIRST_DELETE)
        })
    }

    fn begin_write(&mut self, key: Key, turn: u8, finding: Finding, since: Option<Instant>) {
        let served = self.served.as_ref().and_then(|served| served.get(&key.kind())).cloned();
        let (Some(served), Some(step)) = (served, finding.steps.first().cloned()) else {
            return;
        };
        let job = Job {
            key: key.clone(),
            step,
            served,
            declaration: finding.declaration.clone(),
        };
        let flight = Flight {
            turn,
            job: job.clone(),
            finding,
            since,
            echoed: false,
        };
        let writer = self.parts.writer.clone();
        self.flights.insert(key.clone(), flight);
        self.jobs.spawn(async move { (key, writer.carry_out(&job).await) });
    }

    pub(super) fn finish(&mut self, key: &Key, result: Result<Deed, WriteError>) {
        let Some(flight) = self.flights.remove(key) else {
            return;
        };
        let now = Instant::now();
        let what = action(&flight.job.step);
        match result {
            Ok(deed) => {
                let outcome = match &deed {
                    Deed::Done(done) => {
                        self.note_heal(&flight, now);
                        let record = record::change(&flight.job, &flight.finding, done);
                        self.parts.ledger.record(record);
                        WriteOutcome::Done
                    }
                    Deed::Needless => WriteOutcome::Needless,
                };
                self.parts.metrics.count(what, outcome);
                self.setbacks.clear(key);
                if flight.job.step == Step::Create {
                    self.forgive_dependants(key);
                }
                if !flight.echoed {
                    self.settling.insert(key.clone(), now + ECHO_PATIENCE);
                }
            }
            Err(error) => self.set_back(key, &flight, &error, now),
        }
        self.unreported = true;
    }

    /// Times a heal, and slows down where another writer undoes every one of them.
    fn note_heal(&mut self, flight: &Flight, now: Instant) {
        let key = &flight.job.key;
        let Some(since) = flight.since.filter(|since| self.is_event(key, Some(*since))) else {
            return;
        };
        self.parts.metrics.healed(now.duration_since(since));
        if let Some(rest) = self.pace.count(key, now) {
            let rest = humantime::format_duration(rest);
            tracing::warn!(key = %key, %rest, "another writer undoes every heal of this object; resting between heals");
        }
    }

    fn set_back(&mut self, key: &Key, flight: &Flight, error: &WriteError, now: Instant) {
        let failure = error.failure();
        self.parts.metrics.count(action(&flight.job.step), failure.into());
        if self.setbacks.note(key, failure, error.to_string(), now) {
            tracing::warn!(key = %key, %error, "a write failed; it is tried again");
            self.parts
                .ledger
                .record(record::failure(&flight.job, &flight.finding, failure, error));
        }
    }

    /// A tier that is there now may be what refused policies were waiting for.
    fn forgive_dependants(&mut self, key: &Key) {
        let definition = key.kind().definition();
        if definition.family != Family::Calico || definition.rank != Rank::Tier {
            return;
        }
        // Servers refuse a policy without its tier in different ways: as invalid, as not found, as denied.
        let refused = self.setbacks.keys().filter(|other| {
            let definition = other.kind().definition();
            definition.family == Family::Calico && definition.rank == Rank::Policy
        });
        let refused: Vec<Key> = refused.cloned().collect();
        for other in refused {
            self.setbacks.clear(&other);
            self.mark(other, None);
        }
    }
}
