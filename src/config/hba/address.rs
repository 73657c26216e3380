//! `Network`: from which addresses an entry is for.

use std::net::{IpAddr, Ipv6Addr};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    All,
    V4 { address: u32, mask: u32 },
    V6 { address: u128, mask: u128 },
}

impl Network {
    /// `10.0.0.0/8`.
    pub fn cidr(text: &str) -> Result<Self, String> {
        let form = || format!("`{text}` is no address with the length of its mask, such as 10.0.0.0/8 or ::1/128");
        let (address, length) = text.split_once('/').ok_or_else(form)?;
        let address: IpAddr = address.parse().map_err(|_| form())?;
        // Digits alone: a sign is none of a length.
        let digits = !length.is_empty() && length.len() <= 3 && length.bytes().all(|byte| byte.is_ascii_digit());
        let length: u32 = if digits { length.parse().map_err(|_| form())? } else { return Err(form()) };
        match address {
            IpAddr::V4(address) if length <= 32 => {
                Ok(Self::V4 { address: address.to_bits(), mask: u32::MAX.checked_shl(32 - length).unwrap_or(0) })
            }
            IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => {
                Err(format!("`{text}`: clients of such addresses count as those of IPv4; write it as one of IPv4"))
            }
            IpAddr::V6(address) if length <= 128 => {
                Ok(Self::V6 { address: address.to_bits(), mask: u128::MAX.checked_shl(128 - length).unwrap_or(0) })
            }
            IpAddr::V4(_) | IpAddr::V6(_) => Err(form()),
        }
    }

    /// An address and its mask, each by itself.
    pub fn masked(address: IpAddr, mask: &str) -> Result<Self, String> {
        let read: IpAddr = mask.parse().map_err(|_| format!("`{mask}` is no mask, such as 255.255.255.0"))?;
        match (address, read) {
            (IpAddr::V4(address), IpAddr::V4(mask)) => {
                Ok(Self::V4 { address: address.to_bits(), mask: mask.to_bits() })
            }
            (IpAddr::V6(address), IpAddr::V6(mask)) => {
                Ok(Self::V6 { address: address.to_bits(), mask: mask.to_bits() })
            }
            (IpAddr::V4(_) | IpAddr::V6(_), _) => {
                Err(format!("`{mask}` is a mask of the other family of addresses than {address}"))
            }
        }
    }

    /// An IPv4 client of a socket for both families has an IPv6 address that says so; it is one of IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::All, _) => true,
            (Self::V4 { address, mask }, IpAddr::V4(from)) => (address ^ from.to_bits()) & mask == 0,
            (Self::V6 { address, mask }, IpAddr::V6(from)) => (address ^ from.to_bits()) & mask == 0,
            (Self::V4 { .. }, IpAddr::V6(_)) | (Self::V6 { .. }, IpAddr::V4(_)) => false,
        }
    }

    /// Whether only this machine has such addresses.
    pub fn is_loopback(&self) -> bool {
        const EIGHT: u32 = 0xff00_0000;
        match self {
            Self::All => false,
            Self::V4 { address, mask } => mask & EIGHT == EIGHT && address & EIGHT == 127 << 24,
            Self::V6 { address, mask } => *mask == u128::MAX && *address == Ipv6Addr::LOCALHOST.to_bits(),
        }
    }
}
