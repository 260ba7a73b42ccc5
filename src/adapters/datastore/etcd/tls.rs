//! The TLS that a store is spoken to with, from what its `DataStore` holds.
use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
};
use secrecy::ExposeSecret;
use tokio_rustls::TlsConnector;

use super::super::{Connection, DatastoreError, Identity};

const AUTHORITY: &str = "the certificate of the authority";
const CERTIFICATE: &str = "the client's certificate";
const KEY: &str = "the client's key";

/// What makes a TLS connection; none for a store that is spoken to without.
pub(super) fn connector(connection: &Connection) -> Result<Option<TlsConnector>, DatastoreError> {
    let Some(authority) = &connection.authority else {
        return Ok(None);
    };
    let bad = |what: &str, cause: String| DatastoreError::Credentials {
        store: connection.name.clone(),
        what: what.to_owned(),
        cause,
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority).map_err(|cause| bad(AUTHORITY, cause))? {
        roots
            .add(certificate)
            .map_err(|error| bad(AUTHORITY, error.to_string()))?;
    }
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| bad("the TLS library", error.to_string()))?
            .with_root_certificates(roots);
    let mut config = match &connection.identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
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
                })?
        }
    };
    // What gRPC is spoken over.
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Some(TlsConnector::from(Arc::new(config))))
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
pub(super) fn reason(error: &std::io::Error, host: &str) -> Option<Reason> {
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
