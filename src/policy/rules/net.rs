//! Addresses and networks, as Go's `net` package reads them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: an address and a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
}

impl Network {
    /// `net.ParseCIDR`: leading zeros are refused in the address, not in the mask; no zone.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address = parse_address(address)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u8 = digits
            .then(|| prefix.trim_start_matches('0'))
            .and_then(|prefix| match prefix {
                "" => Some(0),
                prefix => prefix.parse().ok(),
            })?;
        (prefix <= width).then_some(Self { address, prefix })
    }

    /// Whether bits beyond the mask are set.
    pub(super) fn has_host_bits(&self) -> bool {
        self.first() != self.address
    }

    /// The address with the bits beyond the mask cleared.
    pub(super) fn first(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                Ipv4Addr::from(u32::from(address) & mask).into()
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                Ipv6Addr::from(u128::from(address) & mask).into()
            }
        }
    }

    /// Whether the other network lies inside this one and is smaller.
    pub(super) fn strictly_contains(&self, other: &Self) -> bool {
        let within = Self {
            address: other.address,
            prefix: self.prefix,
        };
        self.address.is_ipv4() == other.address.is_ipv4()
            && other.prefix > self.prefix
            && within.first() == self.first()
    }

    /// 4 or 6; an IPv4 address written as IPv6 counts as IPv4.
    pub(super) fn version(&self) -> i64 {
        version(self.address)
    }
}

/// `net.ParseIP`.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// 4 or 6; an IPv4 address written as IPv6 counts as IPv4.
fn version(address: IpAddr) -> i64 {
    match address {
        IpAddr::V6(address) if address.to_ipv4_mapped().is_none() => 6,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn networks_are_read_as_go_does() {
        for text in [
            "10.0.0.0/8",
            "10.0.0.0/08",
            "::/0",
            "0.0.0.0/0",
            "FE80::/10",
            "::ffff:10.0.0.0/104",
        ] {
            assert!(
                Network::parse(text).is_some_and(|network| !network.has_host_bits()),
                "{text}"
            );
        }
        for text in [
            "10.0.0.1",
            "10.0.0/8",
            "010.0.0.0/8",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/ 8",
            "fe80::%eth0/64",
            "/8",
            "",
        ] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
        assert!(Network::parse("10.1.0.0/8").is_some_and(|network| network.has_host_bits()));
    }
}
