//! Which address a request comes from, when it comes through proxies.

use std::net::IpAddr;

use axum::http::HeaderMap;

/// Networks whose `X-Forwarded-For` is believed.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies(Vec<Network>);

/// One network: an address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

/// Hops looked at at most: longer chains are nobody's proxies.
const HOPS_MAX: usize = 32;

impl Proxies {
    /// Reads networks, `10.0.0.0/8` or single addresses.
    ///
    /// # Errors
    /// The first that is none.
    pub(super) fn parse(texts: &[String]) -> Result<Self, String> {
        let read = |text: &String| {
            Network::parse(text).ok_or_else(|| format!("`{text}` is no address and no network"))
        };
        texts.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The client's address: the peer's, or, where that is a proxy of ours, the last one in
    /// `X-Forwarded-For` that is none. What a client wrote there itself stands before that.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if self.0.is_empty() {
            return client;
        }
        let values = headers.get_all("x-forwarded-for").iter();
        let lines: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        let hops = lines.iter().rev().flat_map(|line| line.rsplit(',')).take(HOPS_MAX);
        for hop in hops {
            if !self.contains(client) {
                break;
            }
            let Some(address) = address(hop.trim()) else { break };
            client = address;
        }
        client
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// An address as proxies write it: with a port or without, in brackets or not.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(ip, _)| ip);
    let parsed = bare.unwrap_or(text).parse::<IpAddr>().ok();
    let parsed = parsed.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|a| a.ip()));
    parsed.map(|ip| ip.to_canonical())
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.trim().split_once('/') {
            Some((address, bits)) => (address.parse::<IpAddr>().ok()?, Some(bits)),
            None => (text.trim().parse::<IpAddr>().ok()?, None),
        };
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(width), |bits| bits.parse().ok())?;
        (bits <= width).then_some(Self { address, bits })
    }

    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(32 - self.bits).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(128 - self.bits).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let trusted: Vec<String> = trusted.iter().map(|&text| text.to_owned()).collect();
        let proxies = Proxies::parse(&trusted).expect("networks");
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().expect("header"));
        }
        proxies.client(peer.parse().expect("peer"), &headers).to_string()
    }

    #[test]
    fn only_proxies_of_ours_are_believed() {
        let ours = &["10.0.0.0/8", "::1"];
        assert_eq!(client(&[], "10.0.0.1", &["1.1.1.1"]), "10.0.0.1");
        assert_eq!(client(ours, "9.9.9.9", &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(client(ours, "10.0.0.1", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(client(ours, "::ffff:10.0.0.1", &["1.1.1.1"]), "1.1.1.1");
        assert_eq!(client(ours, "::1", &["2001:db8::1"]), "2001:db8::1");
    }

    #[test]
    fn what_the_client_wrote_itself_is_not_believed() {
        let ours = &["10.0.0.0/8"];
        assert_eq!(client(ours, "10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.2.3.4"]), "1.1.1.1");
        assert_eq!(client(ours, "10.0.0.1", &["6.6.6.6", "1.1.1.1"]), "1.1.1.1");
        assert_eq!(client(ours, "10.0.0.1", &["6.6.6.6, nonsense"]), "10.0.0.1");
        assert_eq!(client(ours, "10.0.0.1", &["1.1.1.1:4711"]), "1.1.1.1");
        assert_eq!(client(ours, "10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client(ours, "10.0.0.1", &[""]), "10.0.0.1");
    }

    #[test]
    fn networks_are_read_or_refused() {
        for bad in ["", "10.0.0.0/33", "::/129", "a", "10.0.0.0/", "1.2.3"] {
            assert!(Proxies::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
        let all = Proxies::parse(&["0.0.0.0/0".to_owned()]).expect("network");
        assert!(all.contains("1.2.3.4".parse().expect("ip")));
        assert!(!all.contains("::1".parse().expect("ip")));
    }
}
