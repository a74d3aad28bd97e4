//! Networks in CIDR notation, IPv4 and IPv6, and lists of them that let clients in or keep them
//! out.
//!
//! **Invariants**: an IPv4 address in IPv6 form (`::ffff:a.b.c.d`) is the IPv4 address, on both
//! sides of a comparison; an address is never both inside and outside; nothing is allocated when a
//! client is judged.

use std::fmt;
use std::str::FromStr;

/// Where a request comes from.
pub use std::net::IpAddr;

/// The addresses that share a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether the address lies in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let prefix_bits = u32::from(self.prefix_bits);
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let difference = base.to_bits() ^ address.to_bits();
                difference.checked_shr(32 - prefix_bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let difference = base.to_bits() ^ address.to_bits();
                difference.checked_shr(128 - prefix_bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }

    /// The address with every bit behind the prefix taken away.
    fn masked(address: IpAddr, prefix_bits: u8) -> IpAddr {
        let prefix_bits = u32::from(prefix_bits);
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - prefix_bits).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - prefix_bits).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.base, self.prefix_bits)
    }
}

impl FromStr for Network {
    type Err = String;

    /// `10.0.0.0/8`, `2001:db8::/32`, or one address alone.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "expected a network such as 10.0.0.0/8, 2001:db8::/32 or one address".to_owned();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let plain = |bits: &str| bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits = match bits {
            None => bits_max,
            Some(bits) if plain(bits) => bits.parse().map_err(|_| wrong())?,
            Some(_) => return Err(wrong()),
        };
        if bits > bits_max {
            return Err(format!("a prefix of this address has at most {bits_max} bits"));
        }
        let (base, prefix_bits) = match address.to_canonical() {
            base if base.is_ipv4() == address.is_ipv4() => (base, bits),
            base if bits >= MAPPED_BITS => (base, bits - MAPPED_BITS),
            _ => return Err("mixes IPv4 in IPv6 form with IPv6; write two networks".to_owned()),
        };
        let masked = Self::masked(base, prefix_bits);
        if masked != base {
            return Err(format!(
                "has bits behind its prefix; the network is {masked}/{prefix_bits}"
            ));
        }
        Ok(Self { base, prefix_bits })
    }
}

/// Who is let in by address. Without any network: everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Networks<'r> {
    /// When not empty: only these.
    pub allow: &'r [Network],
    /// Never these, allowed or not.
    pub deny: &'r [Network],
}

impl Networks<'_> {
    /// Whether every address is let in.
    pub fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Judges an address; one that is not known is let in by no list.
    pub fn admit(&self, address: Option<IpAddr>) -> bool {
        let Some(address) = address else { return self.is_open() };
        let within = |list: &[Network]| list.iter().any(|network| network.contains(address));
        !within(self.deny) && (self.allow.is_empty() || within(self.allow))
    }
}

/// Bits before the IPv4 address in its IPv6 form.
const MAPPED_BITS: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap_or_else(|reason| panic!("{text}: {reason}"))
    }

    #[test]
    fn networks_contain_what_shares_their_prefix() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.128/25", "192.0.2.255", "192.0.2.127"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "255.255.255.255", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("::/0", "fe80::1", "127.0.0.1"),
            ("::/1", "7fff::", "8000::"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("10.0.0.0/8", "10.1.2.3", "::10.1.2.3"),
        ] {
            assert!(network(text).contains(inside.parse().unwrap()), "{text} {inside}");
            assert!(!network(text).contains(outside.parse().unwrap()), "{text} {outside}");
        }
    }

    #[test]
    fn bad_networks_are_explained() {
        for (text, words) in [
            ("", "expected a network"),
            ("localhost", "expected a network"),
            ("10.0.0/8", "expected a network"),
            ("10.0.0.0/", "expected a network"),
            ("10.0.0.0/+8", "expected a network"),
            ("10.0.0.0/999", "expected a network"),
            ("10.0.0.0/33", "at most 32"),
            ("2001:db8::/129", "at most 128"),
            ("10.1.0.0/8", "the network is 10.0.0.0/8"),
            ("2001:db8::1/32", "the network is 2001:db8::/32"),
            ("::ffff:10.1.0.0/104", "the network is 10.0.0.0/8"),
            ("::ffff:0.0.0.0/95", "write two networks"),
        ] {
            let reason = text.parse::<Network>().unwrap_err();
            assert!(reason.contains(words), "{text}: {reason}");
        }
    }

    #[test]
    fn a_denied_address_stays_out_even_if_it_is_allowed() {
        let lists = Networks {
            allow: &[network("10.0.0.0/8"), network("2001:db8::/32")],
            deny: &[network("10.9.0.0/16")],
        };
        let admitted = |text: &str| lists.admit(Some(text.parse().unwrap()));
        assert!(admitted("10.1.1.1") && admitted("::ffff:10.1.1.1") && admitted("2001:db8::5"));
        assert!(!admitted("10.9.1.1") && !admitted("::ffff:10.9.1.1") && !admitted("192.0.2.1"));
        assert!(!lists.admit(None));
        let deny_only = Networks { allow: &[], deny: &[network("192.0.2.0/24")] };
        assert!(deny_only.admit(Some("10.9.1.1".parse().unwrap())));
        assert!(!deny_only.admit(Some("192.0.2.1".parse().unwrap())));
        assert!(Networks::default().admit(None));
    }
}
