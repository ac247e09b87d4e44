//! The command line: arguments in, exit status out. 0: done, or nothing found; 1: found something; 2: could not look.

mod break_glass;
mod certs;
mod check;
mod connect;
mod deployer;
mod diff;
mod digest;
mod exemptions;
mod export;
mod generate;
mod look;
mod output;
mod progress;
mod serve;
mod source;
mod status;
mod uninstall;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Makes Git the only source of network policy in a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(name = "headgate", version, propagate_version = true, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the webhook and the sync loop in one process
    Serve(serve::ServeArguments),
    /// Run the webhook: judge every write of a guarded object
    Webhook(serve::WebhookArguments),
    /// Run the sync loop: bring the cluster to HEAD and keep it there
    Sync(serve::SyncArguments),
    /// Check a folder of manifests as the gate would, without a cluster
    Check(check::CheckArguments),
    /// Print key and digest of each guarded object of a file
    Digest(digest::DigestArguments),
    /// Show how the cluster differs from what its sources declare
    Diff(diff::DiffArguments),
    /// Show the sources and how they fare
    Status(status::StatusArguments),
    /// Write a cluster's policies as the repository that declares them
    Export(export::ExportArguments),
    /// Look at sources, their objects and history; make them, roll them back, accept what they ask for
    Source(source::SourceArguments),
    /// List who may write which guarded objects without Git
    Exemptions(exemptions::ExemptionArguments),
    /// Change a few objects without Git for a while, on record
    BreakGlass(break_glass::BreakGlassArguments),
    /// Print the definitions of Headgate's resources
    Crds(generate::CrdArguments),
    /// Print a webhook configuration for the API server
    WebhookConfiguration(generate::WebhookConfigurationArguments),
    /// Make a certificate authority and a serving certificate
    Certs(certs::CertsArguments),
    /// Take the webhook configuration and the admission policies away, before Headgate itself goes
    Uninstall(uninstall::UninstallArguments),
}

/// How a command ended, short of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Done; nothing was found.
    Clean,
    /// Something was found: problems, differences.
    Found,
}

/// Why a command could not do its work.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Parses the arguments, runs the command and gives the exit status.
pub fn run() -> ExitCode {
    // Two TLS libraries' worth of dependencies share one provider; a second call in one process changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let command = Arguments::parse().command;
    match execute(command) {
        Ok(Ending::Clean) => ExitCode::SUCCESS,
        Ok(Ending::Found) => ExitCode::from(1),
        // A reader that has seen enough, `head` for example, is no failure.
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("error: {}", chain(error.as_ref())));
            ExitCode::from(2)
        }
    }
}

fn execute(command: Command) -> Result<Ending, Failure> {
    match command {
        Command::Serve(arguments) => on_runtime(serve::serve(arguments)),
        Command::Webhook(arguments) => on_runtime(serve::webhook(arguments)),
        Command::Sync(arguments) => on_runtime(serve::sync(arguments)),
        Command::Check(arguments) => check::check(&arguments),
        Command::Digest(arguments) => digest::digest(&arguments),
        Command::Diff(arguments) => on_runtime(diff::diff(arguments)),
        Command::Status(arguments) => on_runtime(status::status(arguments)),
        Command::Export(arguments) => on_runtime(export::export(arguments)),
        Command::Source(arguments) => on_runtime(source::source(arguments)),
        Command::Exemptions(arguments) => exemptions::exemptions(&arguments),
        Command::BreakGlass(arguments) => on_runtime(break_glass::break_glass(arguments)),
        Command::Crds(arguments) => generate::crds(&arguments),
        Command::WebhookConfiguration(arguments) => generate::webhook_configuration(&arguments),
        Command::Certs(arguments) => certs::certs(&arguments),
        Command::Uninstall(arguments) => on_runtime(uninstall::uninstall(arguments)),
    }
}

/// Threads for what blocks: more than read and open mirrors at once, and not so many that their memory counts.
const BLOCKING_THREADS: usize = 16;

fn on_runtime(work: impl Future<Output = Result<Ending, Failure>>) -> Result<Ending, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()?;
    let ending = runtime.block_on(work);
    // A Git fetch that hangs must not hold up the end of the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    ending
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// An error with its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_well_formed() {
        super::Arguments::command().debug_assert();
    }
}
