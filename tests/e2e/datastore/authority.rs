//! Certificates for the tests' stores.
use anyhow::Result;
use kubectl_migrate::adapters::datastore::Identity;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use secrecy::SecretString;

/// An authority, whose certificates the servers and we trust.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self(issuer))
    }

    pub fn pem(&self) -> String {
        self.0.as_ref().pem()
    }

    /// A certificate for a user's name and these hosts.
    pub fn certify(&self, user: &str, hosts: &[&str]) -> Result<Identity> {
        self.certify_until(user, hosts, 4000)
    }

    /// The same, which ends with the beginning of this year.
    pub fn certify_until(&self, user: &str, hosts: &[&str], year: i32) -> Result<Identity> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, user);
        params.not_after = date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: SecretString::from(key.serialize_pem()),
        })
    }
}
