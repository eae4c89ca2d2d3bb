//! Addresses as people write them.
//!
//! Must not know who listens there.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// A host that need not be known here, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPort(pub(crate) String, pub(crate) u16);

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<HostPort, String> {
        let split = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        match split {
            Some((host, port)) if !host.is_empty() && port > 0 => {
                let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
                Ok(HostPort(host.to_owned(), port))
            }
            _ => Err("write HOST:PORT, such as broker.example.net:9092".to_owned()),
        }
    }
}

/// An address, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HttpAddress(pub(crate) Option<SocketAddr>);

impl FromStr for HttpAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<HttpAddress, String> {
        match text {
            "off" => Ok(HttpAddress(None)),
            _ => socket(text).map(Some).map(HttpAddress),
        }
    }
}

pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    let found =
        text.to_socket_addrs().map_err(|e| format!("{e}; write HOST:PORT, such as 127.0.0.1:9092"))?;
    found.into_iter().next().ok_or_else(|| "this name has no address".to_owned())
}

/// A further listener: its name, where it is bound, and what clients are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) name: String,
    pub(crate) bind: SocketAddr,
    pub(crate) advertise: Option<HostPort>,
}

impl FromStr for Listener {
    type Err = String;

    fn from_str(text: &str) -> Result<Listener, String> {
        let mut parts = text.splitn(3, '=');
        let (name, bind, advertise) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        match bind {
            Some(bind) if !name.is_empty() && name.chars().all(fits) => Ok(Listener {
                name: name.to_owned(),
                bind: socket(bind)?,
                advertise: advertise.map(str::parse).transpose()?,
            }),
            _ => Err("write NAME=HOST:PORT or NAME=HOST:PORT=ADVERTISED:PORT, such as public=0.0.0.0:9094=broker.example.net:9094".to_owned()),
        }
    }
}
