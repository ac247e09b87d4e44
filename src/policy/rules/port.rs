//! Ports and protocols, as Calico and Kubernetes name them.

use serde_json::Value;

/// What a Calico port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// A number or a range of them.
    Numbered,
    /// The name of a container's port.
    Named,
}

/// `numorstring.PortFromString` (api/pkg/lib/numorstring/port.go) and `validatePort`.
pub(super) fn check_port(value: &Value) -> Result<Port, String> {
    match value {
        Value::Number(number) => match number.as_u64() {
            Some(1..=65535) => Ok(Port::Numbered),
            _ => Err(format!("{number} is no port: write a number from 1 to 65535")),
        },
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() => in_range(text)
            .map(|_| Port::Numbered)
            .ok_or_else(|| format!("\"{text}\" is no port: write a number from 1 to 65535")),
        Value::String(text) if text.contains(':') => {
            let ends = text
                .split_once(':')
                .and_then(|(first, last)| Some((in_range(first)?, in_range(last)?)));
            match ends {
                Some((first, last)) if first <= last => Ok(Port::Numbered),
                _ => Err(format!(
                    "\"{text}\" is no range of ports: write it as \"80:90\", the lower end first"
                )),
            }
        }
        Value::String(text) if is_service_name(text) => Ok(Port::Named),
        Value::String(text) => Err(format!(
            "\"{text}\" is no port: write a number, a range as \"80:90\", or a name of lower-case letters, digits and '-', at \
             most 15 characters"
        )),
        _ => Err("a port is a number, a range or a name".to_owned()),
    }
}

fn in_range(text: &str) -> Option<u64> {
    let number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()?;
    (1..=65535).contains(&number).then_some(number)
}

/// An IANA service name (`IsValidPortName`): at most 15 of lower-case letters, digits and single inner '-', with a
/// letter.
pub(super) fn is_service_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=15).contains(&text.len())
        && text.bytes().all(allowed)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.contains("--")
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A Calico protocol: what it is called, or its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Name(&'static str),
    Number(u64),
}

const PROTOCOLS: &[&str] = &["TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite"];

impl Protocol {
    /// `validateProtocol`: a name in this case only, or a number from 1 to 255.
    pub(super) fn parse(value: &Value) -> Result<Self, String> {
        let refuse = || {
            Err(format!(
                "{value} is no protocol: write one of {}, or a number from 1 to 255",
                PROTOCOLS.join(", ")
            ))
        };
        match value {
            Value::Number(number) => match number.as_u64() {
                Some(number @ 1..=255) => Ok(Self::Number(number)),
                _ => refuse(),
            },
            Value::String(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                match text.parse() {
                    Ok(number @ 1..=255) => Ok(Self::Number(number)),
                    _ => refuse(),
                }
            }
            Value::String(text) => match PROTOCOLS.iter().find(|name| *name == text) {
                Some(name) => Ok(Self::Name(name)),
                None => refuse(),
            },
            _ => refuse(),
        }
    }

    /// Whether it has ports that Calico can match.
    pub(super) fn has_ports(&self) -> bool {
        matches!(self, Self::Name("TCP" | "UDP" | "SCTP") | Self::Number(6 | 17 | 132))
    }
}
