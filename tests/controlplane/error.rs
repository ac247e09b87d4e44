//! What can go wrong while a control plane is brought up or used.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why there is no control plane, or why it could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// `build.sh` ended with an error; what it had to say went to stderr.
    #[error("failed to build the control plane's programs: {script} ended with {status}")]
    Build {
        /// The script.
        script: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },

    /// The operating system refused something.
    #[error("failed to {action}")]
    Io {
        /// What was tried, to be read after "failed to".
        action: String,
        /// Its answer.
        #[source]
        source: io::Error,
    },

    /// A key or certificate could not be made.
    #[error("failed to make a key or certificate")]
    Certificate(#[from] rcgen::Error),

    /// A client certificate was asked for that cannot be made here.
    #[error("failed to make a certificate for {user}: it can name two groups, not {groups}")]
    TooManyGroups {
        /// Whose certificate it was to be.
        user: String,
        /// How many groups were asked for.
        groups: usize,
    },

    /// The API server answered a request for a token without one.
    #[error("got no token for the service account {account}")]
    NoToken {
        /// Namespace and name.
        account: String,
    },

    /// A process of the control plane ended by itself.
    #[error("{process} ended by itself ({status}); the last lines of its log:\n{log}")]
    Ended {
        /// Its name.
        process: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },

    /// Something that had to become true did not.
    #[error("waited {seconds} s in vain for {awaited}: {answer}\n{logs}")]
    TimedOut {
        /// How long.
        seconds: u64,
        /// What for.
        awaited: &'static str,
        /// The last thing that was heard.
        answer: String,
        /// The last lines of every log.
        logs: String,
    },

    /// A kubeconfig file could not be understood.
    #[error("failed to read {path}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },

    /// The API server refused something, or could not be reached.
    #[error("failed to {action}")]
    Api {
        /// What was tried, to be read after "failed to".
        action: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
}

impl Error {
    /// For `map_err` on calls of the operating system.
    pub(super) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action: action.into(),
            source,
        }
    }

    /// For `map_err` on calls about one file.
    pub(super) fn file(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("{verb} {}", path.display()))
    }

    /// For `map_err` on calls of the API server.
    pub(super) fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api {
            action: action.into(),
            source: Box::new(source),
        }
    }
}
