use std::{fmt, net::SocketAddr, str::FromStr};

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// What a store is; the names are those of Kamaji's `spec.driver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Driver {
    /// etcd, spoken to by the API server itself.
    #[serde(rename = "etcd")]
    Etcd,
    /// PostgreSQL with kine's table.
    PostgreSQL,
    /// MySQL or MariaDB with kine's table.
    MySQL,
    /// NATS JetStream with kine's key-value bucket.
    #[serde(rename = "NATS")]
    Nats,
}

impl fmt::Display for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Etcd => "etcd",
            Self::PostgreSQL => "PostgreSQL",
            Self::MySQL => "MySQL",
            Self::Nats => "NATS",
        })
    }
}

impl FromStr for Driver {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Etcd, Self::PostgreSQL, Self::MySQL, Self::Nats]
            .into_iter()
            .find(|driver| driver.to_string() == text)
            .ok_or_else(|| format!("`{text}` is none of etcd, PostgreSQL, MySQL, NATS"))
    }
}

/// How a store is reached and logged in to. Holds secrets: its `Debug` shows none of them.
#[derive(Clone, Debug)]
pub struct Connection {
    /// What it is called for people: `datastore silver`.
    pub name: String,
    /// What it is.
    pub driver: Driver,
    /// Its servers, at least one.
    pub endpoints: Vec<Endpoint>,
    /// The certificates that its servers' are verified with, as PEM; none: it is spoken to without TLS.
    pub authority: Option<String>,
    /// The certificate that we show.
    pub identity: Option<Identity>,
    /// The user that we log in as.
    pub basic: Option<BasicAuth>,
}

impl Connection {
    /// Whether this is the user that we log in as, who is everybody's.
    #[must_use]
    pub fn logs_in_as(&self, user: &str) -> bool {
        self.basic.as_ref().is_some_and(|basic| basic.user == user)
    }
}

/// One of a store's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is dialled: its own address, or that of a tunnel's end on this machine.
    pub dial: SocketAddr,
    /// The host of its endpoint, as the DataStore names it: its certificate is verified for that.
    pub host: String,
    /// The endpoint as the DataStore names it, `host:port`, for people.
    pub shown: String,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate, with its chain, as PEM.
    pub certificate: String,
    /// Its private key, as PEM.
    pub key: SecretString,
}

/// A user and a password.
#[derive(Clone, Debug)]
pub struct BasicAuth {
    /// The user.
    pub user: String,
    /// The password.
    pub password: SecretString,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_shows_no_secret() {
        let connection = Connection {
            name: "datastore silver".to_owned(),
            driver: Driver::MySQL,
            endpoints: Vec::new(),
            authority: None,
            identity: Some(Identity {
                certificate: "public".to_owned(),
                key: SecretString::from("hidden-key"),
            }),
            basic: Some(BasicAuth {
                user: "root".to_owned(),
                password: SecretString::from("hidden-password"),
            }),
        };
        let shown = format!("{connection:?}");
        assert!(
            shown.contains("silver") && !shown.contains("hidden"),
            "{shown}"
        );
    }
}
