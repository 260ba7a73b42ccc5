//! The certificates of a store, as Kamaji wants them: one authority for servers and clients.
use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth},
    IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// A certificate and its key, as PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// Whoever is trusted to say who is who.
pub struct Authority {
    pub pair: Pair,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Result<Self> {
        let mut wanted = named(name);
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        let pair = Pair {
            certificate: wanted.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        };
        let issuer = Issuer::new(wanted, key);
        Ok(Self { pair, issuer })
    }

    /// For a server with these names; it is a client of itself, too.
    pub fn server(&self, names: &[String]) -> Result<Pair> {
        let mut wanted = CertificateParams::new(names)?;
        wanted.distinguished_name = DistinguishedName::new();
        wanted.extended_key_usages = vec![ServerAuth, ClientAuth];
        self.issue(&wanted)
    }

    /// For a client of this name.
    pub fn client(&self, name: &str) -> Result<Pair> {
        let mut wanted = named(name);
        wanted.extended_key_usages = vec![ClientAuth];
        self.issue(&wanted)
    }

    /// For a client whose time is over.
    pub fn expired(&self, name: &str) -> Result<Pair> {
        let mut wanted = named(name);
        wanted.extended_key_usages = vec![ClientAuth];
        wanted.not_before = date_time_ymd(2001, 1, 1);
        wanted.not_after = date_time_ymd(2002, 1, 1);
        self.issue(&wanted)
    }

    fn issue(&self, wanted: &CertificateParams) -> Result<Pair> {
        let key = KeyPair::generate()?;
        Ok(Pair {
            certificate: wanted.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn named(name: &str) -> CertificateParams {
    let mut wanted = CertificateParams::default();
    wanted.distinguished_name = DistinguishedName::new();
    wanted.distinguished_name.push(DnType::CommonName, name);
    wanted
}
