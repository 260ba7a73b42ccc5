use rustls::{
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use secrecy::SecretString;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    super::{
        datastore::{BasicAuth, Driver, Identity},
        kube::Cluster,
    },
    content::{Source, Unusable},
    data_store::{DataStore, KeyPair},
};

/// What a DataStore's Secrets hold, read and checked: it parses, keys belong to their certificates, nothing has
/// expired.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The certificates that the servers' are verified with, as PEM.
    pub authority: Option<String>,
    /// What we show.
    pub identity: Option<Identity>,
    /// The user that we log in as.
    pub basic: Option<BasicAuth>,
    /// Where all of it came from.
    pub sources: Vec<String>,
}

/// Reads what a DataStore names. Everything that cannot be used is told, not only the first.
pub async fn read(
    cluster: &Cluster,
    store: &DataStore,
    driver: Driver,
) -> Result<Credentials, Vec<Unusable>> {
    let mut reader = Reader {
        cluster,
        found: Credentials::default(),
        flaws: Vec::new(),
    };
    if let Some(tls) = &store.spec.tls_config {
        reader.authority(&tls.certificate_authority, driver).await;
        if let Some(pair) = &tls.client_certificate {
            reader.identity(pair).await;
        }
    }
    if let Some(basic) = &store.spec.basic_auth {
        let user = reader
            .text("spec.basicAuth.username", &basic.username)
            .await;
        let password = reader
            .text("spec.basicAuth.password", &basic.password)
            .await;
        if let (Some((user, _)), Some((password, _))) = (user, password) {
            reader.found.basic = Some(BasicAuth {
                user,
                password: SecretString::from(password),
            });
        }
    }
    if reader.flaws.is_empty() {
        Ok(reader.found)
    } else {
        Err(reader.flaws)
    }
}

struct Reader<'cluster> {
    cluster: &'cluster Cluster,
    found: Credentials,
    flaws: Vec<Unusable>,
}

impl Reader<'_> {
    async fn text(&mut self, field: &str, content: &super::Content) -> Option<(String, Source)> {
        match content.read(self.cluster, field).await {
            Ok((text, source)) => {
                self.found.sources.push(source.0.clone());
                Some((text, source))
            }
            Err(flaw) => {
                self.flaws.push(flaw);
                None
            }
        }
    }

    async fn authority(&mut self, pair: &KeyPair, driver: Driver) {
        let field = "spec.tlsConfig.certificateAuthority";
        let Some((certificate, source)) = self
            .text(&format!("{field}.certificate"), &pair.certificate)
            .await
        else {
            return;
        };
        self.flaw_of(&source, certificates(&certificate));
        // With etcd the controller signs the tenant's certificate with it; others may leave it out.
        if driver == Driver::Etcd {
            let content = pair.private_key.clone().unwrap_or_default();
            if let Some((key, source)) = self.text(&format!("{field}.privateKey"), &content).await {
                self.flaw_of(&source, belong(&certificate, &key));
            }
        }
        self.found.authority = Some(certificate);
    }

    async fn identity(&mut self, pair: &KeyPair) {
        let field = "spec.tlsConfig.clientCertificate";
        let certificate = self
            .text(&format!("{field}.certificate"), &pair.certificate)
            .await;
        let content = pair.private_key.clone().unwrap_or_default();
        let key = self.text(&format!("{field}.privateKey"), &content).await;
        let (Some((certificate, source)), Some((key, key_source))) = (certificate, key) else {
            return;
        };
        self.flaw_of(&source, certificates(&certificate));
        self.flaw_of(&key_source, belong(&certificate, &key));
        self.found.identity = Some(Identity {
            certificate,
            key: SecretString::from(key),
        });
    }

    fn flaw_of(&mut self, source: &Source, looked: Result<(), String>) {
        if let Err(why) = looked {
            self.flaws.push(Unusable {
                source_of: source.0.clone(),
                why,
            });
        }
    }
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let chain = chain.map_err(|error| format!("is no certificate in PEM: {error}"))?;
    if chain.is_empty() {
        return Err("holds no certificate in PEM".to_owned());
    }
    Ok(chain)
}

/// Certificates that can be read and are valid now.
fn certificates(pem: &str) -> Result<(), String> {
    for certificate in chain(pem)? {
        let (_, certificate) = X509Certificate::from_der(&certificate)
            .map_err(|error| format!("is no certificate: {error}"))?;
        let validity = certificate.validity();
        if !validity.is_valid() {
            let (from, until) = (validity.not_before, validity.not_after);
            let subject = certificate.subject();
            return Err(format!(
                "certificate `{subject}` is valid from {from} until {until}, and not now"
            ));
        }
    }
    Ok(())
}

/// A key that is the certificate's own. A certificate that cannot be read is another flaw's matter.
fn belong(certificate: &str, key: &str) -> Result<(), String> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| format!("is no private key in PEM: {error}"))?;
    let Ok(chain) = chain(certificate) else {
        return Ok(());
    };
    match CertifiedKey::from_der(chain, key, &default_provider()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err("is the key of another certificate".to_owned())
        }
        Err(error) => Err(format!("cannot be used: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair as Key, date_time_ymd};

    use super::*;

    fn certificate(until: i32) -> (String, String) {
        let key = Key::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["etcd".to_owned()]).expect("a name");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.self_signed(&key).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    #[test]
    fn an_expired_certificate_says_since_when() {
        let why = certificates(&certificate(2001).0).expect_err("it has expired");
        assert!(why.contains("until Jan  1 00:00:00 2001"), "{why}");
        assert_eq!(certificates(&certificate(4000).0), Ok(()));
    }

    #[test]
    fn a_swapped_key_is_told_from_none() {
        let ((certificate, own), (_, other)) = (certificate(4000), certificate(4000));
        assert_eq!(belong(&certificate, &own), Ok(()));
        assert_eq!(
            belong(&certificate, &other),
            Err("is the key of another certificate".to_owned())
        );
        let why = belong(&certificate, "nothing").expect_err("no key");
        assert!(why.starts_with("is no private key in PEM"), "{why}");
        let why = certificates("nothing").expect_err("no certificate");
        assert_eq!(why, "holds no certificate in PEM");
    }
}
