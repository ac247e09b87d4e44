use std::time::{Duration, SystemTime};

use super::super::issue::issue;
use super::*;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const VALIDITY: Duration = Duration::from_hours(24 * 90);

fn names() -> Result<Vec<ServerName<'static>>, Box<dyn std::error::Error>> {
    Ok(vec![ServerName::try_from("w.n.svc")?])
}

fn issued() -> Result<Issued, rcgen::Error> {
    issue(
        &["w.n.svc".to_owned(), "127.0.0.1".to_owned()],
        VALIDITY,
        SystemTime::now(),
    )
}

fn secret(content: &Content) -> Secret {
    let data = content.data(false).into_iter();
    Secret {
        data: Some(data.filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()),
        ..Secret::default()
    }
}

fn read(content: &Content) -> Result<Stored, Box<dyn std::error::Error>> {
    Ok(Stored::read(Some(&secret(content)), &names()?))
}

#[test]
fn what_each_step_writes_is_what_the_next_one_reads() -> Outcome {
    let first = read(&Stored::begun(&issued()?, &[]))?;
    let old = first.state.serving.as_ref().ok_or("nothing is served")?.authority;
    assert_eq!((first.state.trusted.len(), first.state.next.as_ref()), (1, None));

    let prepared = read(&first.prepared(&issued()?, Timestamp::now()))?;
    let new = prepared.state.next.as_ref().ok_or("nothing comes next")?.authority;
    assert_eq!(prepared.state.serving, first.state.serving);
    assert_eq!(prepared.state.trusted.len(), 2);
    assert_ne!(old, new);

    let served = read(&prepared.served())?;
    assert_eq!(
        (&served.state.serving, &served.state.next),
        (&prepared.state.next, &None)
    );
    assert_eq!(served.state.trusted, prepared.state.trusted);

    let retired = read(&served.retired(&[old]))?;
    assert_eq!(retired.state.serving, served.state.serving);
    assert_eq!(retired.state.trusted.len(), 1);
    assert_eq!(retired.serving_authority().map(|one| one.fingerprint), Some(new));
    Ok(())
}

#[test]
fn a_certificate_that_was_prepared_and_never_served_leaves_nothing_behind() -> Outcome {
    let first = read(&Stored::begun(&issued()?, &[]))?;
    let prepared = read(&first.prepared(&issued()?, Timestamp::now()))?;
    let again = read(&prepared.prepared(&issued()?, Timestamp::now()))?;
    assert_eq!(again.state.trusted.len(), 2);
    assert_ne!(again.state.next, prepared.state.next);
    Ok(())
}

#[test]
fn what_is_served_from_elsewhere_stays_trusted_and_the_first_certificate_waits() -> Outcome {
    let elsewhere = authorities(issued()?.authority.as_bytes());
    let begun = read(&Stored::begun(&issued()?, &elsewhere))?;
    assert_eq!((begun.state.trusted.len(), &begun.state.serving), (2, &None));
    assert!(begun.state.next.is_some());
    Ok(())
}

#[test]
fn a_pair_that_does_not_fit_is_as_good_as_none() -> Outcome {
    let (one, other) = (issued()?, issued()?);
    let mixed = |authority: &Issued, certificate: &Issued, key: &Issued| {
        let issued = Issued {
            authority: authority.authority.clone(),
            certificate: certificate.certificate.clone(),
            key: key.key.clone(),
        };
        read(&Stored::begun(&issued, &[]))
    };
    assert!(mixed(&one, &one, &one)?.state.serving.is_some());
    assert_eq!(mixed(&one, &one, &other)?.state.serving, None);
    assert_eq!(mixed(&other, &one, &one)?.state.serving, None);
    assert_eq!(Stored::read(None, &names()?).state, State::default());
    Ok(())
}

#[test]
fn a_certificate_without_a_name_it_needs_does_not_fit() -> Outcome {
    let secret = secret(&Stored::begun(&issued()?, &[]));
    for (wanted, fits) in [("w.n.svc", true), ("127.0.0.1", true), ("other.n.svc", false)] {
        let stored = Stored::read(Some(&secret), &[ServerName::try_from(wanted)?]);
        assert_eq!(stored.state.serving.map(|leaf| leaf.fits), Some(fits), "{wanted}");
    }
    Ok(())
}
