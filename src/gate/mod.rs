//! The decision: the review as received, exemptions, grants, the verdict and its wording. Pure: no clock, socket, disk or
//! task in here.

pub mod answer;
pub mod decision;
pub mod exemption;
pub mod grant;
pub mod preset;
pub mod review;
pub mod rules;
pub mod subject;
pub mod wording;

pub use answer::Answer;
pub use decision::namespace::{Declarer, NamespaceDeletion, decide_namespace};
pub use decision::{Basis, Lenience, Reason, Verdict, decide};
pub use exemption::{Exemption, ExemptionSpec, Traits};
pub use grant::resource::{GrantedObject, PolicyGrant, PolicyGrantSpec, PolicyGrantStatus};
pub use grant::{Grant, GrantError, GrantRules, GrantSet};
pub use preset::{Preset, PresetChoice};
pub use review::{Operation, Request, ReviewError, User};
pub use rules::{DryRun, Rules, Uncovered};
pub use subject::{Forgery, State, Subject, SubjectError};
