//! The keys of a source as this process knows them: what its Secret said last, and whether it still can be read.

use std::sync::Arc;

use super::keeper::{Credentials, Shared};
use super::settings::Settings;
use super::signature::Keyring;

/// The keys of a source.
#[derive(Clone, Default)]
pub(super) struct Keys {
    /// The Secret's name.
    secret: Option<String>,
    /// What the Secret held when it could be used last.
    entries: Credentials,
    keyring: Option<Arc<Keyring>>,
    problem: Option<String>,
}

impl Keys {
    /// The last keys that could be read: what a head in force is held to, also while the Secret cannot be read.
    pub(super) fn last(&self) -> Result<&Keyring, &str> {
        self.keyring.as_deref().ok_or_else(|| self.problem())
    }

    /// The keys as they are now: what a new commit needs.
    pub(super) fn current(&self) -> Result<&Keyring, &str> {
        match &self.problem {
            None => self.last(),
            Some(problem) => Err(problem),
        }
    }

    /// Why the keys cannot be read, if so.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    fn problem(&self) -> &str {
        self.problem.as_deref().unwrap_or("the keys were not read yet")
    }

    /// The keys after another look at the Secret; none where nothing changed. The keys of another Secret are never
    /// taken for those of this one.
    pub(super) fn after(&self, looked: Looked) -> Option<Self> {
        let mut next = if self.secret == looked.secret {
            self.clone()
        } else {
            Self {
                secret: looked.secret.clone(),
                ..Self::default()
            }
        };
        let name = looked.secret.unwrap_or_default();
        let refuse = |why: String| format!("the keys of spec.verify.keysSecretRef cannot be used: {why}");
        match looked.entries {
            Ok(entries) if next.keyring.is_some() && entries == next.entries => next.problem = None,
            Ok(entries) => match Keyring::read(&entries) {
                Ok(keyring) => {
                    next.keyring = Some(Arc::new(keyring));
                    next.entries = entries;
                    next.problem = None;
                }
                Err(error) => next.problem = Some(refuse(format!("the Secret {name}: {error}"))),
            },
            Err(why) => next.problem = Some(refuse(why)),
        }
        let is_same = next.secret == self.secret && next.problem == self.problem && next.entries == self.entries;
        (!is_same).then_some(next)
    }
}

/// A look at a Secret.
pub(super) struct Looked {
    secret: Option<String>,
    entries: Result<Credentials, String>,
}

/// Reads the Secret with the keys; none where the source asks for no signatures.
pub(super) async fn look(shared: &Shared, settings: &Settings) -> Option<Looked> {
    let name = settings.verification.keys.clone()?;
    let loading = shared.options.credentials.load(&name);
    let entries = tokio::time::timeout(shared.options.fetch_timeout, loading).await;
    Some(Looked {
        secret: Some(name),
        entries: entries.unwrap_or_else(|_| Err("no answer".to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ada ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJb0dFFSvO5tSVGMS+WTzCC2PyJUrBq3MDyhCq9ba4y7\n";

    fn looked(secret: &str, entries: Result<&str, &str>) -> Looked {
        let entries = entries.map(|text| Credentials::from([("allowed_signers".to_owned(), text.into())]));
        Looked {
            secret: Some(secret.to_owned()),
            entries: entries.map_err(ToOwned::to_owned),
        }
    }

    #[test]
    fn a_secret_that_cannot_be_read_any_more_lets_nothing_new_in_and_leaves_the_head_alone() -> Result<(), &'static str>
    {
        let none = Keys::default();
        assert!(none.current().is_err() && none.last().is_err());
        let known = none.after(looked("a", Ok(KEY))).ok_or("unchanged")?;
        assert!(known.current().is_ok());
        assert!(known.after(looked("a", Ok(KEY))).is_none(), "nothing is new");
        for broken in [Err("gone"), Ok(""), Ok("ada\n")] {
            let broken = known.after(looked("a", broken)).ok_or("unchanged")?;
            assert!(broken.current().is_err() && broken.last().is_ok());
            let mended = broken.after(looked("a", Ok(KEY))).ok_or("unchanged")?;
            assert!(mended.current().is_ok());
        }
        let other = known.after(looked("b", Err("gone"))).ok_or("unchanged")?;
        assert!(other.last().is_err(), "the keys of another Secret");
        Ok(())
    }
}
