//! Which sources there are: starts, tells and ends their tasks.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use kube::ResourceExt;
use tokio::sync::watch;

use super::{Keeper, Running};
use crate::source::flight::Flight;
use crate::source::home;
use crate::source::resource::PolicySource;
use crate::source::task::Task;
use crate::source::wanted::Wanted;

impl Keeper {
    /// Takes the list of sources as the API server has it now: starts, restarts and stops tasks accordingly. To be
    /// called within a runtime; a source that is left out loses its mirror.
    pub fn set_sources(&self, sources: Vec<PolicySource>) {
        if !self.listed.load(Ordering::Relaxed) {
            self.remove_unlisted(&sources);
        }
        let names: HashSet<String> = sources.iter().map(ResourceExt::name_any).collect();
        let mut running = self.running();
        for source in sources {
            self.tell(&mut running, source);
        }
        running.retain(|name, gone| {
            let stays = names.contains(&**name);
            if !stays {
                self.end(name, gone);
            }
            stays
        });
        self.listed.store(true, Ordering::Relaxed);
    }

    /// Takes one source as the API server has it now. To be called within a runtime, and after the list.
    pub fn set_source(&self, source: PolicySource) {
        self.tell(&mut self.running(), source);
    }

    /// Lets go of a source that is no more: it loses its mirror.
    pub fn remove_source(&self, name: &str) {
        if let Some((name, gone)) = self.running().remove_entry(name) {
            self.end(&name, &gone);
        }
    }

    fn tell(&self, running: &mut BTreeMap<Arc<str>, Running>, source: PolicySource) {
        let name: Arc<str> = Arc::from(source.name_any());
        let known = running.get(&name);
        let before = known.map(|known| Arc::clone(&known.wanted.borrow()));
        let wanted = Wanted::of(source, &self.shared.options.urls, before.as_deref());
        match (known, before) {
            (Some(known), Some(before)) if before.uid == wanted.uid => {
                // It is told whenever its status changes, too: who is not concerned sleeps on.
                if !wanted.is_same(&before) {
                    known.wanted.send_replace(Arc::new(wanted));
                }
            }
            (known, _) => {
                // Made anew under its old name: nothing of the old one holds for it.
                if let Some(known) = known {
                    known.removal.cancel();
                }
                running.insert(Arc::clone(&name), self.run(name, wanted));
            }
        }
    }

    fn end(&self, name: &Arc<str>, gone: &Running) {
        gone.removal.cancel();
        self.shared.board.remove(name);
        self.shared.metrics.gone(name);
    }

    fn run(&self, name: Arc<str>, wanted: Wanted) -> Running {
        let flight = Arc::new(Flight::new());
        let removal = self.shutdown.child_token();
        let (wanted, wishes) = watch::channel(Arc::new(wanted));
        let (task, head) = Task::new(
            name,
            Arc::clone(&self.shared),
            wishes,
            Arc::clone(&flight),
            removal.clone(),
        );
        let (shutdown, broken) = (self.shutdown.clone(), self.broken.clone());
        self.tasks.spawn(async move {
            if tokio::spawn(task.run(shutdown)).await.is_err() {
                broken.cancel();
            }
        });
        Running {
            wanted,
            head,
            flight,
            removal,
        }
    }

    fn remove_unlisted(&self, sources: &[PolicySource]) {
        let listed: Vec<_> = sources
            .iter()
            .map(|source| (source.name_any(), source.spec.git.url.clone()))
            .collect();
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn_blocking(move || {
            if let Err(error) = home::remove_unlisted(&shared.options.state_dir, &listed) {
                tracing::warn!(%error, "failed to look for mirrors of sources that are gone");
            }
        });
    }
}
