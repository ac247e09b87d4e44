//! How the command line names deployers.

use clap::ValueEnum;

use crate::policy::Deployer;
use crate::source::resource::DeployerChoice;

/// A deployer, as `spec.deployer` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Tool {
    ArgoCd,
    Flux,
    Helm,
}

impl From<Tool> for Deployer {
    fn from(tool: Tool) -> Self {
        match tool {
            Tool::ArgoCd => Self::ArgoCd,
            Tool::Flux => Self::Flux,
            Tool::Helm => Self::Helm,
        }
    }
}

impl From<Tool> for DeployerChoice {
    fn from(tool: Tool) -> Self {
        match tool {
            Tool::ArgoCd => Self::ArgoCd,
            Tool::Flux => Self::Flux,
            Tool::Helm => Self::Helm,
        }
    }
}
