//! Whether what a DataStore holds can be used at all, before anybody is dialled.
use std::fmt;

use rustls::{
    RootCertStore,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use secrecy::ExposeSecret as _;

use crate::adapters::datastore::{Connection, DatastoreError, Identity};

/// Refuses certificates and keys that are none, or not of each other. The driver would tell it late, and with all
/// of a certificate's text.
pub(super) fn check_credentials(connection: &Connection) -> Result<(), DatastoreError> {
    let unusable = |what: &str, cause: String| DatastoreError::Credentials {
        store: connection.name.clone(),
        what: what.to_owned(),
        cause,
    };
    if let Some(authority) = &connection.authority {
        check_authority(authority)
            .map_err(|cause| unusable("the authority's certificate", cause))?;
    }
    match &connection.identity {
        Some(identity) => {
            check_identity(identity).map_err(|cause| unusable("the client's certificate", cause))
        }
        None => Ok(()),
    }
}

fn check_authority(pem: &str) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(text)?;
    }
    Ok(())
}

fn check_identity(identity: &Identity) -> Result<(), String> {
    let chain = certificates(&identity.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.expose_secret().as_bytes())
        .map_err(|error| format!("its key is no PEM: {error}"))?;
    CertifiedKey::from_der(chain, key, &default_provider())
        .map(drop)
        .map_err(text)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let found = found.map_err(|error| format!("it is no PEM: {error}"))?;
    if found.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    Ok(found)
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::adapters::datastore::Driver;

    fn pair() -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["a.svc".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn checked(authority: &str, certificate: &str, key: &str) -> Result<(), String> {
        let connection = Connection {
            name: "datastore silver".to_owned(),
            driver: Driver::MySQL,
            endpoints: Vec::new(),
            authority: Some(authority.to_owned()),
            identity: Some(Identity {
                certificate: certificate.to_owned(),
                key: key.into(),
            }),
            basic: None,
        };
        check_credentials(&connection).map_err(text)
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told_without_its_text() {
        let ((certificate, key), (other, other_key)) = (pair(), pair());
        assert_eq!(checked(&other, &certificate, &key), Ok(()));
        for (authority, certificate, key, expected) in [
            (
                "",
                &certificate,
                &key,
                "the authority's certificate cannot be used: there is no certificate in it",
            ),
            (
                &key,
                &certificate,
                &key,
                "the authority's certificate cannot be used: there is no certificate in it",
            ),
            (
                &other,
                &key,
                &key,
                "the client's certificate cannot be used: there is no certificate in it",
            ),
            (
                &other,
                &certificate,
                &other,
                "the client's certificate cannot be used: its key is no PEM",
            ),
            (
                &other,
                &certificate,
                &other_key,
                "the client's certificate cannot be used: ",
            ),
        ] {
            let error = checked(authority, certificate, key).expect_err(expected);
            assert!(
                error.starts_with(&format!("datastore silver: {expected}")),
                "{error}"
            );
            assert!(!error.contains("BEGIN"), "{error}");
        }
    }
}
