//! The keys of one run: three self-signed pairs, each known to the others by its certificate alone.
use super::side::Side;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::BTreeMap;

const CERTIFICATE: &str = "certificate.pem";
const KEY: &str = "key.pem";
const CLIENT: &str = "client.pem";
const PEER: &str = "peer.pem";
const SOURCE: &str = "source.pem";
const TARGET: &str = "target.pem";

/// Keys cannot be made, or files are not what [`RunKeys`] made.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The random source or the key's algorithm failed.
    #[error("cannot make a key pair for this run")]
    Make(#[from] rcgen::Error),
    /// A file is not there.
    #[error("the key file `{0}` is missing; take all files of the run's Secret")]
    Missing(&'static str),
    /// A file does not hold what its name says.
    #[error("the key file `{name}` cannot be read; take it from the run's Secret again")]
    Read {
        /// The file.
        name: &'static str,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
}

struct Pair {
    certificate: String,
    key: String,
}

/// The three key pairs of a run: of the client and of both movers. Not printable, and nothing else is ever trusted.
pub struct RunKeys {
    client: Pair,
    source: Pair,
    target: Pair,
}

impl RunKeys {
    /// New keys.
    pub fn generate() -> Result<Self, KeyError> {
        Ok(Self {
            client: make("client")?,
            source: make("source")?,
            target: make("target")?,
        })
    }

    fn pair(&self, side: Side) -> &Pair {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// The files that the mover of this side needs, by name, as PEM.
    #[must_use]
    pub fn mover_files(&self, side: Side) -> BTreeMap<String, Vec<u8>> {
        files([
            (CERTIFICATE, &self.pair(side).certificate),
            (KEY, &self.pair(side).key),
            (CLIENT, &self.client.certificate),
            (PEER, &self.pair(side.other()).certificate),
        ])
    }

    /// The files that a client needs, by name, as PEM: with them another laptop can go on.
    #[must_use]
    pub fn client_files(&self) -> BTreeMap<String, Vec<u8>> {
        files([
            (CERTIFICATE, &self.client.certificate),
            (KEY, &self.client.key),
            (SOURCE, &self.source.certificate),
            (TARGET, &self.target.certificate),
        ])
    }
}

fn make(name: &str) -> Result<Pair, KeyError> {
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(vec![name.to_owned()])?;
    parameters.distinguished_name.push(DnType::CommonName, name);
    let certificate = parameters.self_signed(&key)?;
    Ok(Pair {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn files<const N: usize>(list: [(&str, &String); N]) -> BTreeMap<String, Vec<u8>> {
    list.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec()))
        .into()
}

/// Our own identity at one end of a connection.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// What a client trusts and is trusted by.
pub struct ClientKeys {
    pub(crate) identity: Identity,
    pub(crate) source: CertificateDer<'static>,
    pub(crate) target: CertificateDer<'static>,
}

impl ClientKeys {
    /// Reads what [`RunKeys::client_files`] gave.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, KeyError> {
        Ok(Self {
            identity: identity(files)?,
            source: certificate(files, SOURCE)?,
            target: certificate(files, TARGET)?,
        })
    }

    pub(crate) fn mover(&self, side: Side) -> &CertificateDer<'static> {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

/// What a mover trusts and is trusted by.
pub struct MoverKeys {
    pub(crate) identity: Identity,
    pub(crate) client: CertificateDer<'static>,
    pub(crate) peer: CertificateDer<'static>,
}

impl MoverKeys {
    /// Reads what [`RunKeys::mover_files`] gave.
    pub fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, KeyError> {
        Ok(Self {
            identity: identity(files)?,
            client: certificate(files, CLIENT)?,
            peer: certificate(files, PEER)?,
        })
    }

    /// The names of the files that a mover needs.
    pub(crate) const FILES: [&'static str; 4] = [CERTIFICATE, CLIENT, KEY, PEER];
}

fn identity(files: &BTreeMap<String, Vec<u8>>) -> Result<Identity, KeyError> {
    let pem = files.get(KEY).ok_or(KeyError::Missing(KEY))?;
    let key = PrivateKeyDer::from_pem_slice(pem)
        .map_err(|source| KeyError::Read { name: KEY, source })?;
    Ok(Identity {
        certificate: certificate(files, CERTIFICATE)?,
        key,
    })
}

fn certificate(
    files: &BTreeMap<String, Vec<u8>>,
    name: &'static str,
) -> Result<CertificateDer<'static>, KeyError> {
    let pem = files.get(name).ok_or(KeyError::Missing(name))?;
    CertificateDer::from_pem_slice(pem).map_err(|source| KeyError::Read { name, source })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn everyone_gets_its_own_key_and_only_the_others_certificates() {
        let keys = RunKeys::generate().unwrap();
        let source = MoverKeys::from_files(&keys.mover_files(Side::Source)).unwrap();
        let target = MoverKeys::from_files(&keys.mover_files(Side::Target)).unwrap();
        let client = ClientKeys::from_files(&keys.client_files()).unwrap();
        assert_eq!(source.identity.certificate, target.peer);
        assert_eq!(target.identity.certificate, source.peer);
        assert_eq!(client.identity.certificate, source.client);
        assert_eq!(client.mover(Side::Target), &target.identity.certificate);
        assert_ne!(client.mover(Side::Source), &target.identity.certificate);
        assert!(keys.mover_files(Side::Source).keys().eq(&MoverKeys::FILES));
    }

    #[test]
    fn a_missing_or_broken_file_is_named() {
        let mut files = RunKeys::generate().unwrap().client_files();
        files.insert(TARGET.into(), b"nonsense".into());
        let error = ClientKeys::from_files(&files).err().unwrap();
        assert!(error.to_string().contains("target.pem"), "{error}");
        files.remove(KEY);
        assert!(matches!(
            ClientKeys::from_files(&files),
            Err(KeyError::Missing("key.pem"))
        ));
    }
}
