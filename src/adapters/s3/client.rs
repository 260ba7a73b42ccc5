//! The client: whom it trusts, how long it waits, and how often it asks again.
use std::{sync::PoisonError, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Config, Credentials, IdentityCache, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, SharedHttpClient, retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use secrecy::ExposeSecret as _;

use super::{Bucket, S3Error, Settings, settings::Keys};

/// How long it takes until a server is known to be away.
const CONNECT: Duration = Duration::from_secs(5);
/// One try of a request without much of a body, from connecting to the end of the answer's head.
const SHORT: Duration = Duration::from_secs(30);
/// The least for a part; one that stands still ends sooner.
const LONG: Duration = Duration::from_mins(3);
/// Bytes a second with which every part passes in time.
const SLOWEST: u64 = 64 << 10;
/// How often a request is sent at most. Between tries it waits up to 0.25, 0.5, 1, 2 and 4 s.
const TRIES: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// Who talks to a server now: the credentials may be others later.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) keys: Keys,
    pub(super) client: Client,
}

impl Session {
    pub(super) fn new(settings: &Settings, http: &SharedHttpClient, keys: Keys) -> Self {
        let token = keys
            .token
            .as_ref()
            .map(|token| token.expose_secret().to_owned());
        let credentials = Credentials::new(
            keys.id.clone(),
            keys.secret.expose_secret(),
            token,
            None,
            "kubectl-migrate",
        );
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(http.clone())
            .credentials_provider(credentials)
            .identity_cache(IdentityCache::no_cache())
            .region(Region::new(settings.region.clone()))
            // Whatever has an endpoint of its own rarely has a name for each bucket.
            .force_path_style(settings.endpoint.is_some())
            // Each part carries its MD5, which every server checks; the library's own would come as trailers, which
            // some do not know.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(TRIES)
                    .with_initial_backoff(FIRST_WAIT)
                    .with_max_backoff(LONGEST_WAIT),
            )
            .timeout_config(timeouts(SHORT));
        config.set_endpoint_url(settings.endpoint.clone());
        Self {
            keys,
            client: Client::from_conf(config.build()),
        }
    }
}

/// How long so many bytes may take to pass.
pub(super) fn long(bytes: u64) -> Duration {
    LONG.max(Duration::from_secs(bytes / SLOWEST))
}

/// Bounds of one try.
pub(super) fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .read_timeout(attempt)
        .operation_attempt_timeout(attempt)
        .build()
}

/// The connections of a server.
pub(super) fn http(settings: &Settings) -> Result<SharedHttpClient, S3Error> {
    let trusted = match &settings.authority {
        // Whoever names an authority trusts no other.
        Some(authority) => TrustStore::empty().with_pem_certificate(authority.as_bytes()),
        // Without TLS nobody has to be trusted, and where no authority is installed the library would stop.
        None if settings.is_plain() => TrustStore::empty(),
        None => TrustStore::default(),
    };
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.map_err(|error| S3Error::Setting {
        what: "the TLS library".to_owned(),
        cause: error.to_string(),
    })?;
    Ok(Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build_https())
}

impl Bucket {
    /// Who talks to the server now, and with which keys.
    pub(super) fn session(&self) -> (Client, Keys) {
        let session = self
            .inner
            .session
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        (session.client.clone(), session.keys.clone())
    }

    /// Reads the credentials again; whether they are others than those that were used.
    pub(super) async fn renewed(&self, used: &Keys) -> Result<bool, S3Error> {
        // Another request of the same time may have been first.
        if self.session().1 != *used {
            return Ok(true);
        }
        let settings = &self.inner.settings;
        let now = super::settings::keys(&settings.source).await?;
        if now == *used {
            return Ok(false);
        }
        let mut session = self
            .inner
            .session
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if session.keys != now {
            *session = Session::new(settings, &self.inner.http, now);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_may_take_longer() {
        assert_eq!(long(0), LONG);
        assert_eq!(long(8 << 20), LONG);
        // The largest part that there is.
        assert_eq!(long(128 << 20), Duration::from_secs(2_048));
    }
}
