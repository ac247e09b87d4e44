//! What people read when a request is refused.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;

use super::decision::namespace::Declarer;
use super::decision::{Lenience, Reason, Verdict};
use super::grant::Grant;
use super::review::Operation;
use super::subject::Subject;
use crate::policy::{Deployer, Difference, Key, visible};
use crate::source::resource::DenialDetail;
use crate::source::{Declared, NotRead, SourceState};

/// The longest text a denial has, in bytes.
pub const MAX_TEXT: usize = 2048;
/// How many field differences a denial lists; the record has them all.
const MAX_LISTED: usize = 12;
/// Room for saying how many were left out, in bytes.
const ROOM_FOR_COUNT: usize = 48;

/// What the handler knows besides the verdict.
#[derive(Clone, Copy, Debug)]
pub struct Findings<'a> {
    /// The fields that differ from Git.
    pub differences: &'a [Difference],
    /// How the object in the cluster differs from Git before the request; empty where it is new.
    pub in_cluster: &'a [Difference],
    /// Whose tracking marks are on the object, where the source names that deployer not.
    pub marks_of: Option<Deployer>,
    /// What of Git could not be asked once more.
    pub unread: &'a Unread,
    /// Where to propose a change.
    pub edit_url: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
}

/// What of Git could not be asked once more before a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// All of it could, or nobody had to wait for it.
    Nothing,
    /// So many wait already that nobody was asked.
    TooManyWait,
    /// The repository of the source that decided; why, where that source's refusals show values.
    Deciding(Option<String>),
    /// The repository of another source that covers the object. It is another team's: neither its name nor its server is
    /// the reader's business.
    Another,
}

impl Unread {
    /// Which of the sources that could not be asked the refusal may speak of.
    pub fn of(failed: &[NotRead], deciding: Option<&SourceState>) -> Self {
        let of_deciding = deciding.and_then(|source| {
            let not_read = failed.iter().find(|not_read| not_read.source == source.name)?;
            Some((source, not_read))
        });
        match of_deciding {
            Some((source, not_read)) => {
                let shows = source.settings.denial == DenialDetail::Values;
                Self::Deciding(shows.then(|| not_read.why.clone()))
            }
            None if failed.is_empty() => Self::Nothing,
            None => Self::Another,
        }
    }

    /// A line of the refusal.
    fn line(&self) -> String {
        let why = match self {
            Self::Nothing => return String::new(),
            Self::TooManyWait => ": too many requests wait for it already".to_owned(),
            Self::Deciding(Some(why)) => format!(": {}", inline(why)),
            Self::Deciding(None) => String::new(),
            Self::Another => ": the repository of another source does not answer".to_owned(),
        };
        format!("\n  Git could not be read again just now{why}")
    }
}

/// The text of a refusal, at most two kilobytes, control characters escaped.
pub fn denial(subject: &Subject, verdict: &Verdict<'_>, findings: Findings<'_>) -> String {
    let mut text = inline(&headline(subject, verdict));
    if let Some(declared) = verdict.declared {
        add_declaration(&mut text, declared, findings.now);
    } else if let Some(source) = verdict.source {
        add_source(&mut text, source, findings.now);
    }
    let failed = findings.unread.line();
    let ending = match verdict.declared {
        Some(declared) if verdict.reason == Reason::Differs && findings.only_the_cluster_differs() => {
            leave_nothing_behind(declared)
        }
        _ => advice(verdict, findings.edit_url),
    };
    if verdict.reason == Reason::Differs {
        let hint = hint_at_deployer(verdict.source, findings.marks_of);
        let taken = failed.len() + hint.len() + escape(&ending).len() + ROOM_FOR_COUNT;
        let room = MAX_TEXT.saturating_sub(taken);
        add_differences(&mut text, verdict.source, findings, room);
        text.push_str(&hint);
    }
    text.push_str(&failed);
    finish(&text, &ending)
}

/// The text of a refusal to let a namespace go. It names sources, and neither their repositories nor their files: they
/// may be other tenants'.
pub fn namespace_denial(namespace: &str, reason: Reason, declarers: &[Declarer<'_>]) -> String {
    let count = |objects: usize| match objects {
        1 => "1 policy".to_owned(),
        many => format!("{many} policies"),
    };
    if reason != Reason::NamespaceDeclared {
        let text =
            format!("Namespace {namespace} may not be deleted: Headgate does not know yet what Git declares in it.");
        return finish(&inline(&text), "");
    }
    let all = declarers.iter().map(|declarer| declarer.objects).sum();
    let mut text = inline(&format!(
        "Namespace {namespace} may not be deleted: Git still declares {} in it.",
        count(all)
    ));
    for declarer in declarers.iter().take(MAX_LISTED) {
        let _ = write!(
            text,
            "\n  source: {}, {}",
            declarer.source.name,
            count(declarer.objects)
        );
    }
    if declarers.len() > MAX_LISTED {
        let _ = write!(text, "\n  and {} more sources", declarers.len() - MAX_LISTED);
    }
    finish(&text, "Remove them from Git first.")
}

/// The text of a refusal of a review about which nothing else is known.
pub fn denial_without_subject(why: &str) -> String {
    finish(why, "Headgate refuses what it cannot judge.")
}

impl Findings<'_> {
    /// Whether the field is in the cluster as the request would have it: whatever the request's file says, it does not
    /// change this one. A field that is absent from both may well be absent from the file.
    fn is_left_over(&self, difference: &Difference) -> bool {
        difference.other.is_some() && self.in_cluster.contains(difference)
    }

    /// Whether the request's own file may be what Git says, and the object would still not be.
    fn only_the_cluster_differs(&self) -> bool {
        !self.differences.is_empty() && self.differences.iter().all(|difference| self.is_left_over(difference))
    }
}

/// The warning that a request gets which passes although it would be refused.
pub fn would_deny(lenience: Option<Lenience>, denial: &str) -> String {
    let why = match lenience {
        Some(Lenience::DryRun) => "Headgate would refuse this if it were no dry run",
        _ => "Headgate would refuse this (mode Audit)",
    };
    // The API server drops a warning with a control character in it, a newline too, without a word.
    let line = denial.lines().map(str::trim).collect::<Vec<_>>().join("; ");
    finish(&format!("{why}: {line}"), "")
}

/// The warning that a request gets which passes by a grant: one line, short enough for the API server to keep it whole.
pub fn break_glass(subject: &Subject, grant: &Grant, overruled: Reason) -> String {
    let until = grant.ends.strftime("%Y-%m-%dT%H:%M:%SZ");
    let line = format!(
        "Headgate: break-glass until {until} by grant {}, on record; without it this is refused ({}): {}",
        grant.name,
        overruled.as_str(),
        subject.key.label(),
    );
    inline(&line)
}

/// One sentence for the record.
pub fn sentence(subject: &Subject, verdict: &Verdict<'_>) -> String {
    inline(&headline(subject, verdict))
}

fn headline(subject: &Subject, verdict: &Verdict<'_>) -> String {
    let object = subject.key.label();
    match verdict.reason {
        Reason::ForgedMetadata => match subject.forged {
            Some(forgery) => format!("{object} is refused: {}.", forgery.sentence()),
            None => format!("{object} is stored under a name that is not its own, and may only be deleted."),
        },
        Reason::NotGuarded => format!("{object} is not guarded there."),
        Reason::GeneratedName => {
            format!(
                "{} needs a name: generateName can match no file in Git.",
                subject.key.kind().label()
            )
        }
        Reason::NotCovered => format!(
            "{object} is refused: no PolicySource covers {}.",
            where_it_is(&subject.key)
        ),
        Reason::Uncovered => format!("{object}: no PolicySource covers {}.", where_it_is(&subject.key)),
        Reason::HeadUnknown => format!("{object} is refused: Headgate has no commit yet to compare it with."),
        Reason::Unverified => {
            format!("{object} is refused: what Git says of it is no longer signed by a key that counts.")
        }
        Reason::Stale => format!("{object} is refused: what Headgate knows of Git is too old."),
        Reason::Conflict => conflict(&object, verdict),
        Reason::Differs => format!("{object} differs from Git."),
        Reason::NotDeclared => format!("{object} is not in Git."),
        Reason::StillDeclared => format!("{object} is still declared in Git and may not be deleted."),
        Reason::NotAdopted => {
            format!(
                "{object} is not in Git and was there before its PolicySource: Headgate does not let it go unnoticed."
            )
        }
        Reason::Exempt => {
            let reason = verdict
                .exemption
                .map_or("", |exemption| exemption.spec().reason.as_str());
            format!("{object}: exempt ({reason}).")
        }
        Reason::NamespaceTerminating => format!("{object} goes with its namespace."),
        Reason::NoChange => format!("{object}: nothing that is decided changes."),
        Reason::Misplaced => format!("{object} is stored under a name that is not its own, and goes."),
        Reason::MatchesHead => format!("{object} is what Git says."),
        Reason::SourceBeingRemoved => format!("{object} goes with its PolicySource."),
        Reason::AbsentAtHead => format!("{object} is not in Git, and goes."),
        Reason::BreakGlass => match verdict.grant {
            Some((grant, overruled)) => format!(
                "{object} passes by break-glass: grant {} of {} ({}). It would be refused: {}.",
                grant.name,
                grant.requested_by,
                grant.reason,
                overruled.as_str()
            ),
            None => format!("{object} passes by break-glass."),
        },
        // Of namespaces there is no subject: see `namespace_denial`.
        Reason::Unreadable | Reason::Internal | Reason::NamespaceDeclared => format!("{object} cannot be judged."),
    }
}

fn conflict(object: &str, verdict: &Verdict<'_>) -> String {
    let name = |source: Option<&SourceState>| source.map_or_else(String::new, |source| source.name.to_string());
    format!(
        "{object} is declared differently by the PolicySources {} and {}, which have the same priority.",
        name(verdict.source),
        name(verdict.rival)
    )
}

fn where_it_is(key: &Key) -> String {
    match key.namespace() {
        Some(namespace) => format!("{} in namespace {namespace}", key.kind()),
        None => key.kind().to_string(),
    }
}

fn add_source(text: &mut String, source: &SourceState, now: Timestamp) {
    let reference = source.settings.reference.short();
    let _ = match &source.head {
        Some(head) => write!(
            text,
            "\n  source: {}, {reference} at {} ({})",
            source.name,
            head.commit.short(),
            read(source.age(now))
        ),
        None => write!(text, "\n  source: {}, {reference}", source.name),
    };
}

fn add_declaration(text: &mut String, declared: Declared<'_>, now: Timestamp) {
    add_source(text, declared.source, now);
    let _ = write!(text, "\n  file:   {}", inline(&declared.entry.path));
}

fn read(age: Option<Duration>) -> String {
    match age.map(|age| age.as_secs()) {
        None => "not confirmed yet".to_owned(),
        Some(seconds @ 0..=119) => format!("read {seconds} s ago"),
        Some(seconds @ 120..=7199) => format!("read {} min ago", seconds / 60),
        Some(seconds) => format!("read {} h ago", seconds / 3600),
    }
}

/// Lists the differences as long as the text stays within `room` bytes; the first one always.
fn add_differences(text: &mut String, source: Option<&SourceState>, findings: Findings<'_>, room: usize) {
    let detail = source.map_or(DenialDetail::Minimal, |source| source.settings.denial);
    if detail != DenialDetail::Minimal {
        list(text, detail, findings, room);
    }
}

fn list(text: &mut String, detail: DenialDetail, findings: Findings<'_>, room: usize) {
    let differences = findings.differences;
    let more = differences.last().is_some_and(Difference::is_more);
    let named = differences.len() - usize::from(more);
    let mut listed = 0;
    // What a policy does comes first; what is left out is counted, never cut off without a word.
    for difference in differences.iter().take(named.min(MAX_LISTED)) {
        let line = match detail {
            DenialDetail::Values => difference.sentence("this request"),
            _ => difference.path.clone(),
        };
        let mut line = format!("\n  {}", inline(&line));
        if findings.is_left_over(difference) {
            line.push_str(" (in the cluster already, not changed by this request)");
        }
        if listed > 0 && text.len() + line.len() > room {
            break;
        }
        text.push_str(&line);
        listed += 1;
    }
    let left = named - listed;
    let _ = match (left, more) {
        (0, false) => Ok(()),
        (_, true) => write!(text, "\n  and more than {left} more fields"),
        (1, false) => write!(text, "\n  and 1 more field"),
        (_, false) => write!(text, "\n  and {left} more fields"),
    };
}

/// What to do about marks that a deployer puts on whatever it applies.
fn hint_at_deployer(source: Option<&SourceState>, marks_of: Option<Deployer>) -> String {
    let (Some(source), Some(deployer)) = (source, marks_of) else {
        return String::new();
    };
    let instead = source
        .settings
        .deployer
        .map_or_else(String::new, |named| format!(" instead of {}", named.as_str()));
    format!(
        "\n  {} marks what it applies. If it applies this source, let PolicySource {} say spec.deployer: {}{instead}",
        deployer.name(),
        source.name,
        deployer.as_str()
    )
}

/// What to do about fields that other managers or a drift left in the cluster: an apply keeps what it does not own, and no
/// change to Git is needed.
fn leave_nothing_behind(declared: Declared<'_>) -> String {
    let loop_mends = declared.source.settings.sync && !declared.source.settings.suspend;
    let or_wait = if loop_mends {
        ", or leave it to the sync loop"
    } else {
        ""
    };
    format!(
        "If your file is Git's, it does not have what is in the cluster already: apply and patch keep that. Use `kubectl replace` \
         with {}{or_wait}.",
        inline(&declared.entry.path)
    )
}

fn advice(verdict: &Verdict<'_>, edit_url: Option<&str>) -> String {
    let propose = match verdict.reason {
        Reason::Differs | Reason::StillDeclared => "Propose the change there",
        Reason::NotDeclared | Reason::NotAdopted => "Propose it there",
        Reason::Conflict => return "It stays as it is until one of the two gives way.".to_owned(),
        Reason::NotCovered => return "Ask who runs Headgate for a PolicySource that covers it.".to_owned(),
        _ => return String::new(),
    };
    match edit_url {
        Some(url) => format!("{propose}: {}", inline(url)),
        None => format!("{propose}, by a pull request."),
    }
}

/// Escapes control characters and keeps the text within its bound; the ending always stays whole unless it is itself too long.
fn finish(text: &str, ending: &str) -> String {
    const CUT: &str = "\n  …";
    let text = escape(text);
    let ending = escape(ending);
    let room = MAX_TEXT.saturating_sub(ending.len() + 1);
    let mut finished = if text.len() <= room {
        text
    } else {
        let mut cut = text;
        cut.truncate(cut.floor_char_boundary(room.saturating_sub(CUT.len())));
        cut + CUT
    };
    if !ending.is_empty() && finished.len() + ending.len() < MAX_TEXT {
        finished.push('\n');
        finished.push_str(&ending);
    }
    finished
}

/// A text as part of a line: a control character could rewrite the reader's terminal, a newline could forge a line.
pub fn inline(text: &str) -> String {
    escape(text).replace('\n', "\\n")
}

/// Newlines stay: by now they are this module's own.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '\n' => escaped.push('\n'),
            _ => visible::push(&mut escaped, c),
        }
        escaped
    })
}

/// The verb of an operation, for records.
pub fn verb(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Delete => "delete",
        Operation::Connect => "connect",
    }
}

#[cfg(test)]
mod tests;
