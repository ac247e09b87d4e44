//! Whether an exemption lets a request pass.

use super::Basis;
use crate::gate::exemption::{Exemption, Traits};
use crate::gate::review::Operation;
use crate::gate::subject::Subject;

/// An exemption has to name the object as it is and as it shall be: else who may write one object could turn any other
/// into it.
pub(super) fn exemption<'a>(subject: &Subject, basis: Basis<'a>) -> Option<&'a Exemption> {
    let names_states = |exemption: &Exemption| {
        let mut states = subject.new.iter().chain(&subject.old);
        states.all(|state| {
            exemption.names_object(&Traits {
                key: &state.canonical.key,
                stored_name: &state.stored_name,
                form: &state.canonical.form,
            })
        })
    };
    let mut exemptions = basis.rules.exemptions.iter();
    exemptions.find(|exemption| {
        exemption.holds_at(basis.now)
            && exemption.covers_operation(subject.operation)
            && covers_user(exemption, subject)
            && names_states(exemption)
    })
}

/// Whoever creates or updates through Calico's API server was judged on `projectcalico.org` under their own name: then
/// it may store what any exemption names, and what was refused there it is not asked to store. A delete through it was
/// judged nowhere, and an exemption for the one it may come from would be one for everybody.
fn covers_user(exemption: &Exemption, subject: &Subject) -> bool {
    let names_user = || exemption.names_user(&subject.user.username, &subject.user.groups);
    if !subject.is_stored_by_calico() {
        return names_user();
    }
    match subject.operation {
        Operation::Create | Operation::Update => true,
        Operation::Delete | Operation::Connect => exemption.covers_anonymous_deletes() && names_user(),
    }
}
