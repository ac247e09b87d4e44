//! `headgate source`: the sources, what they declare, and their deliberate moves.

mod create;
mod history;
mod moves;
mod objects;
mod refresh;

use clap::{Args, Subcommand};

use super::{Ending, Failure};

#[derive(Debug, Args)]
pub(super) struct SourceArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the sources and how they fare, or the objects of one
    Get(objects::GetArguments),
    /// Show which commits changed a source's policy, and when each came into force
    History(history::HistoryArguments),
    /// Make a source
    Create(create::CreateArguments),
    /// Have every replica look at the repository now
    Refresh(refresh::RefreshArguments),
    /// Roll back: hold a source to one commit of its branch
    Pin(moves::PinArguments),
    /// Let a source follow its branch again
    Unpin(moves::NameArguments),
    /// Accept a commit that removes more than maxRemovals, or does so since path, ignore or tiers changed
    Accept(moves::AcceptArguments),
    /// Hold a source to the commit in force, and change nothing in the cluster for it
    Suspend(moves::NameArguments),
    /// Let a suspended source go on
    Resume(moves::NameArguments),
}

pub(super) async fn source(arguments: SourceArguments) -> Result<Ending, Failure> {
    match arguments.command {
        Command::Get(arguments) => objects::get(arguments).await,
        Command::History(arguments) => history::history(arguments).await,
        Command::Create(arguments) => create::create(arguments).await,
        Command::Refresh(arguments) => refresh::refresh(arguments).await,
        Command::Pin(arguments) => moves::pin(arguments).await,
        Command::Unpin(arguments) => moves::unpin(arguments).await,
        Command::Accept(arguments) => moves::accept(arguments).await,
        Command::Suspend(arguments) => moves::suspend(arguments, true).await,
        Command::Resume(arguments) => moves::suspend(arguments, false).await,
    }
}
