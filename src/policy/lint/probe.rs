//! A question to a policy: may this pass?

use serde_json::{Map, Value};

/// The way of a connection, seen from what the policy selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Ingress,
    Egress,
}

/// A protocol by both of its names.
pub(super) type Protocol = (&'static str, u64);

pub(super) const TCP: Protocol = ("TCP", 6);
pub(super) const UDP: Protocol = ("UDP", 17);

/// Where name servers listen. `OpenShift`'s do on the second, and policies are about the Pods' ports, not the Service's.
pub(super) const DNS_PORTS: [u16; 2] = [53, 5353];

/// The ports that would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// This one; where the container's port has a name, by that.
    Port(u16, Option<&'static str>),
    /// Any other than these, each alone.
    AnyBut(&'static [u16]),
}

/// What has to stay possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) direction: Direction,
    pub(super) protocol: Protocol,
    pub(super) wanted: Wanted,
}

/// What a rule says to a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// It is not about it.
    No,
    /// It is about some of it: some peers, or a port whose number the file does not say.
    Some,
    /// It is about all of it.
    All,
}

impl Probe {
    /// A question to a name server: one of these has to pass.
    pub(super) const DNS: [Probe; 2] = [
        Self::name_server(DNS_PORTS[0], UDP),
        Self::name_server(DNS_PORTS[1], UDP),
    ];

    /// The same by TCP, by which only answers that are too long are asked for.
    pub(super) const DNS_BY_TCP: [Probe; 2] = [
        Self::name_server(DNS_PORTS[0], TCP),
        Self::name_server(DNS_PORTS[1], TCP),
    ];

    const fn name_server(port: u16, protocol: Protocol) -> Self {
        Self {
            direction: Direction::Egress,
            protocol,
            wanted: Wanted::Port(port, None),
        }
    }

    /// Whether a rule for this protocol, by name or number, is about the probe.
    pub(super) fn is_protocol(&self, protocol: &Value) -> bool {
        protocol == self.protocol.0 || protocol == self.protocol.1
    }

    /// How a port, a range or a name fits.
    pub(super) fn port(&self, first: &Value, last: Option<&Value>) -> Match {
        let Some((first, last)) = range(first, last) else {
            return self.named(first.as_str().unwrap_or_default());
        };
        let fits = match self.wanted {
            Wanted::Port(port, _) => (first..=last).contains(&u64::from(port)),
            Wanted::AnyBut(ports) => first != last || !ports.iter().any(|port| first == u64::from(*port)),
        };
        match (fits, self.wanted) {
            (false, _) => Match::No,
            (true, Wanted::Port(..)) => Match::All,
            (true, Wanted::AnyBut(_)) => Match::Some,
        }
    }

    /// What number a name stands for is each Pod's to say.
    fn named(&self, name: &str) -> Match {
        match self.wanted {
            Wanted::Port(_, Some(known)) if known != name => Match::No,
            _ => Match::Some,
        }
    }
}

/// `80`, `80` to an end port, or Calico's `"80:90"`.
fn range(first: &Value, last: Option<&Value>) -> Option<(u64, u64)> {
    let number = |text: &str| text.parse::<u64>().ok();
    match first {
        Value::Number(first) => {
            let first = first.as_u64()?;
            Some((first, last.and_then(Value::as_u64).unwrap_or(first)))
        }
        Value::String(text) => {
            let (first, last) = text.split_once(':')?;
            Some((number(first)?, number(last)?))
        }
        _ => None,
    }
}

/// The best of several matches.
pub(super) fn best(matches: impl Iterator<Item = Match>) -> Match {
    matches.fold(Match::No, |best, next| match (best, next) {
        (Match::All, _) | (_, Match::All) => Match::All,
        (Match::Some, _) | (_, Match::Some) => Match::Some,
        _ => Match::No,
    })
}

/// The items of a list that is there and not empty.
pub(super) fn items<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a [Value]> {
    let list = members.get(name)?.as_array()?;
    (!list.is_empty()).then_some(list.as_slice())
}
