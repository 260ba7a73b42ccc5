//! What lets somebody else use a bucket as we do.
use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::future::BoxFuture;
use secrecy::SecretString;

use super::{
    Bucket, S3Error, Settings,
    settings::{Keys, Source},
};

/// Which server, as whom, and whom to trust: all that is needed to use a bucket from another machine. It is never
/// written down.
#[derive(Clone, Debug)]
pub struct Access {
    /// The server's URL; none for AWS.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: String,
    /// The authorities to trust, as PEM.
    pub authority: Option<String>,
    /// The access key's id.
    pub id: String,
    /// The secret access key.
    pub secret: SecretString,
    /// The session's token, where the credentials are temporary.
    pub token: Option<SecretString>,
    /// Where they came from, for people.
    pub from: String,
}

/// Asks whoever lent his credentials for those that he has now; none where he has nothing.
#[derive(Clone)]
pub struct Again(Arc<dyn Fn() -> BoxFuture<'static, Option<Access>> + Send + Sync>);

impl Again {
    /// A question that is asked each time that a server no longer takes what there is.
    pub fn new(
        ask: impl Fn() -> BoxFuture<'static, Option<Access>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(ask))
    }

    pub(super) async fn keys(&self) -> Option<Keys> {
        Some((self.0)().await?.into())
    }
}

impl fmt::Debug for Again {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Again")
    }
}

impl From<Access> for Keys {
    fn from(access: Access) -> Self {
        Self {
            id: access.id,
            secret: access.secret,
            token: access.token,
            from: access.from,
        }
    }
}

impl Bucket {
    /// Reads the credentials again, for somebody else whose are no longer taken.
    ///
    /// # Errors
    ///
    /// There are none any more.
    pub async fn renew(&self) -> Result<(), S3Error> {
        let (_, keys) = self.session();
        self.renewed(&keys).await.map(drop)
    }

    /// What lets somebody else use it with the credentials that are used now. Where the system's authorities are
    /// trusted they come along: another machine may have none.
    #[must_use]
    pub fn access(&self) -> Access {
        let settings = &self.inner.settings;
        let (_, keys) = self.session();
        let authority = settings
            .authority
            .clone()
            .or_else(|| (!settings.is_plain()).then(system_authorities));
        Access {
            endpoint: settings.endpoint.clone(),
            region: settings.region.clone(),
            authority,
            id: keys.id,
            secret: keys.secret,
            token: keys.token,
            from: keys.from,
        }
    }
}

impl Settings {
    /// The settings of whoever was given this, and may ask for it again.
    #[must_use]
    pub fn of(access: Access, again: Again) -> Self {
        Self {
            endpoint: access.endpoint.clone(),
            region: access.region.clone(),
            authority: access.authority.clone(),
            source: Source::Lent(again),
            keys: access.into(),
        }
    }
}

/// The authorities that this system trusts, as PEM.
fn system_authorities() -> String {
    let found = rustls_native_certs::load_native_certs();
    let pem = found.certs.iter().map(|certificate| {
        let text = STANDARD.encode(certificate);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        let body = lines.join("\n");
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    });
    pem.collect()
}
