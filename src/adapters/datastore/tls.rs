//! The TLS that a store is spoken to with, from what its `DataStore` holds.
use std::{io, net::IpAddr, sync::Arc};

use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme,
    WantsVerifier,
    client::{
        WantsClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring::default_provider},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem, pem::PemObject},
};
use secrecy::ExposeSecret;

use super::{Connection, DatastoreError, Identity};

const AUTHORITY: &str = "the certificate of the authority";
const CERTIFICATE: &str = "the client's certificate";
const KEY: &str = "the client's key";
const LIBRARY: &str = "the TLS library";

/// The TLS that a store is spoken to with; none for a store that is spoken to without. Whoever uses it says which
/// host it speaks to.
pub(super) fn client_config(
    connection: &Connection,
) -> Result<Option<ClientConfig>, DatastoreError> {
    let Some(roots) = roots(connection)? else {
        return Ok(None);
    };
    let builder = builder(connection)?.with_root_certificates(roots);
    identified(builder, connection).map(Some)
}

/// The same for one host, whatever host its user believes to speak to: a tunnel's end has another.
pub(super) fn client_config_for(
    connection: &Connection,
    host: &str,
) -> Result<Option<ClientConfig>, DatastoreError> {
    let Some(roots) = roots(connection)? else {
        return Ok(None);
    };
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| unusable(connection, AUTHORITY, error.to_string()))?;
    let name = server_name(host)
        .map_err(|error| unusable(connection, "the host of its endpoint", error.to_string()))?;
    let builder = builder(connection)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OneHost { inner, name }));
    identified(builder, connection).map(Some)
}

/// A host as certificates name it.
pub(super) fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(ServerName::from(address));
    }
    ServerName::try_from(host.to_owned()).map_err(io::Error::other)
}

fn unusable(connection: &Connection, what: &str, cause: String) -> DatastoreError {
    DatastoreError::Credentials {
        store: connection.name.clone(),
        what: what.to_owned(),
        cause,
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn builder(
    connection: &Connection,
) -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, DatastoreError> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(connection, LIBRARY, error.to_string()))
}

fn roots(connection: &Connection) -> Result<Option<RootCertStore>, DatastoreError> {
    let Some(authority) = &connection.authority else {
        return Ok(None);
    };
    let bad = |cause| unusable(connection, AUTHORITY, cause);
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority).map_err(bad)? {
        roots
            .add(certificate)
            .map_err(|error| bad(error.to_string()))?;
    }
    Ok(Some(roots))
}

fn identified(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    connection: &Connection,
) -> Result<ClientConfig, DatastoreError> {
    let Some(Identity { certificate, key }) = &connection.identity else {
        return Ok(builder.with_no_client_auth());
    };
    let bad = |what: &str, cause: String| unusable(connection, what, cause);
    let chain = certificates(certificate).map_err(|cause| bad(CERTIFICATE, cause))?;
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes())
        .map_err(|error| bad(KEY, words(&error)))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => bad(
                KEY,
                "it is not the key of the client's certificate".to_owned(),
            ),
            other => bad(CERTIFICATE, other.to_string()),
        })
}

/// Verifies as ever, but always for the same host.
#[derive(Debug)]
struct OneHost {
    inner: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for OneHost {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner
            .verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if found.is_empty() => Err("there is no certificate in PEM in it".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(words(&error)),
    }
}

fn words(error: &pem::Error) -> String {
    match error {
        pem::Error::NoItemsFound => "there is nothing of the kind in PEM in it".to_owned(),
        other => other.to_string(),
    }
}

/// Why a handshake failed, for people; none if it was not for TLS.
pub(super) fn reason(error: &io::Error, host: &str) -> Option<Reason> {
    use rustls::CertificateError as Certificate;
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match tls {
        rustls::Error::InvalidCertificate(
            Certificate::Expired | Certificate::ExpiredContext { .. },
        ) => Reason::Theirs("the server's certificate has expired".to_owned()),
        // Authorities of the same name, as kubeadm makes them, differ in their signatures only.
        rustls::Error::InvalidCertificate(
            Certificate::UnknownIssuer | Certificate::BadSignature,
        ) => Reason::Theirs(
            "the server's certificate is not of the authority that the DataStore names".to_owned(),
        ),
        rustls::Error::InvalidCertificate(
            Certificate::NotValidForName | Certificate::NotValidForNameContext { .. },
        ) => Reason::Theirs(format!("the server's certificate is not for {host}")),
        rustls::Error::AlertReceived(alert) => {
            Reason::Ours(format!("the server rejects our certificate ({alert:?})"))
        }
        other => Reason::Theirs(other.to_string()),
    })
}

/// Whose certificate was not accepted.
pub(super) enum Reason {
    /// The server's, by us.
    Theirs(String),
    /// Ours, by the server.
    Ours(String),
}
