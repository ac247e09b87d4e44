//! `headgate status --watch`: the sources as they change. At a terminal each has a line of its own, with a bar while the loop
//! brings the cluster to its commit; a pipe gets a line for each change, as `kubectl get --watch` writes them.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use futures::{StreamExt as _, TryStreamExt as _};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};

use super::output::{self, complain};
use super::status::{HEADER, row};
use super::{Ending, Failure};
use crate::gate::wording::inline;
use crate::source::PolicySource;
use crate::source::resource::ProgressStatus;

/// A source that is being brought to its commit, and one that is not.
const AT_WORK: &str = "{prefix}  {bar:30} {pos}/{len}  {msg}";
const AT_REST: &str = "{prefix}  {msg}";

/// Shows the sources until interrupted. One that is named is the only one.
pub(super) async fn watch(api: Api<PolicySource>, name: Option<&str>) -> Result<Ending, Failure> {
    let mut config = watcher::Config::default();
    if let Some(name) = name {
        config = config.fields(&format!("metadata.name={name}"));
    }
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut view = View::new();
    // One for the whole time: what comes while a change is being shown counts as well.
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    loop {
        let event = tokio::select! {
            interrupted = &mut interrupted => return interrupted.map(|()| Ending::Clean).map_err(Failure::from),
            event = events.try_next() => event,
        };
        match event {
            Ok(Some(event)) => view.take(event)?,
            Ok(None) => return Err("the watch of PolicySources ended".into()),
            Err(error) => complain(&format!("PolicySources cannot be watched; trying again: {error}")),
        }
    }
}

enum View {
    Bars(Bars),
    Lines(Lines),
}

impl View {
    fn new() -> Self {
        if std::io::stdout().is_terminal() {
            Self::Bars(Bars {
                all: MultiProgress::with_draw_target(ProgressDrawTarget::stdout()),
                bars: BTreeMap::new(),
            })
        } else {
            Self::Lines(Lines::default())
        }
    }

    fn take(&mut self, event: watcher::Event<PolicySource>) -> Result<(), Failure> {
        match (event, self) {
            (watcher::Event::InitApply(source) | watcher::Event::Apply(source), Self::Bars(bars)) => bars.show(&source),
            (watcher::Event::InitApply(source) | watcher::Event::Apply(source), Self::Lines(lines)) => {
                lines.show(&source)?;
            }
            (watcher::Event::Delete(source), Self::Bars(bars)) => bars.remove(&source.name_any()),
            (watcher::Event::Delete(source), Self::Lines(lines)) => drop(lines.last.remove(&source.name_any())),
            (watcher::Event::Init | watcher::Event::InitDone, _) => {}
        }
        Ok(())
    }
}

/// A line of the terminal for each source.
struct Bars {
    all: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
}

impl Bars {
    fn show(&mut self, source: &PolicySource) {
        let name = source.name_any();
        let all = &self.all;
        let place = self.bars.range(..name.clone()).count();
        let bar = self
            .bars
            .entry(name.clone())
            .or_insert_with(|| all.insert(place, ProgressBar::no_length()));
        let cells = row(source, false);
        let cell = |index: usize| cells.get(index).cloned().unwrap_or_default();
        let (status, commit, objects) = (cell(2), cell(3), cell(4));
        let (template, said) = match progress(source) {
            Some(progress) => {
                bar.set_length(unsigned(progress.total));
                bar.set_position(unsigned(progress.done));
                (AT_WORK, format!("{status} {commit}"))
            }
            None => (AT_REST, format!("{status} {commit}, {objects} objects")),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(name);
        bar.set_message(inline(&said));
        bar.tick();
    }

    fn remove(&mut self, name: &str) {
        if let Some(bar) = self.bars.remove(name) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }
}

/// A line for each change.
#[derive(Default)]
struct Lines {
    /// What was said of each source last; not its age, which changes by itself.
    last: BTreeMap<String, Vec<String>>,
    widths: Vec<usize>,
}

impl Lines {
    fn show(&mut self, source: &PolicySource) -> Result<(), Failure> {
        let mut cells = row(source, false);
        // The age: it would make every line another one.
        cells.pop();
        cells.push(
            progress(source).map_or_else(String::new, |progress| format!("{}/{}", progress.done, progress.total)),
        );
        if self.last.get(&source.name_any()) == Some(&cells) {
            return Ok(());
        }
        let mut text = String::new();
        if self.widths.is_empty() {
            let names = HEADER.iter().take(HEADER.len() - 1).copied().chain(["PROGRESS"]);
            text.push_str(&self.line(&names.map(str::to_owned).collect::<Vec<_>>()));
        }
        text.push_str(&self.line(&cells));
        self.last.insert(source.name_any(), cells);
        output::print(&text)
    }

    /// Columns do not become narrower again.
    fn line(&mut self, cells: &[String]) -> String {
        self.widths.resize(cells.len(), 0);
        for (width, cell) in self.widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
        let padded = cells
            .iter()
            .zip(&self.widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let line = padded.collect::<Vec<_>>().join("   ");
        format!("{}\n", line.trim_end())
    }
}

fn progress(source: &PolicySource) -> Option<&ProgressStatus> {
    source.status.as_ref()?.progress.as_ref()
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
