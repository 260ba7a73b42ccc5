//! Authorities, and the certificates that they sign.
use anyhow::{Context as _, Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use yasna::{
    ASN1Result, BERReader, Tag,
    models::{ObjectIdentifier, TaggedDerValue},
    tags::{TAG_IA5STRING, TAG_PRINTABLESTRING, TAG_UTF8STRING},
};

/// A private key and its public one, both as PEM.
pub fn keys() -> Result<(String, String)> {
    let pair = KeyPair::generate()?;
    Ok((pair.serialize_pem(), pair.public_key_pem()))
}

/// A certificate and its key, both as PEM.
#[derive(Clone, Default)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    /// A new authority.
    pub fn authority(name: &str) -> Result<Self> {
        let mut wanted = named(name, None);
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate()?;
        Ok(Self {
            certificate: wanted.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        })
    }

    /// A certificate for a client, signed by this authority.
    pub fn client(&self, name: &str, organization: Option<&str>) -> Result<Self> {
        self.issue(
            named(name, organization),
            ExtendedKeyUsagePurpose::ClientAuth,
        )
    }

    /// A certificate for a server with these names and addresses, signed by this authority.
    pub fn server(&self, names: Vec<String>) -> Result<Self> {
        let mut wanted = CertificateParams::new(names)?;
        wanted.distinguished_name = DistinguishedName::new();
        wanted
            .distinguished_name
            .push(DnType::CommonName, "kube-apiserver");
        self.issue(wanted, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn issue(&self, mut wanted: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Result<Self> {
        wanted.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        wanted.extended_key_usages = vec![usage];
        let mut authority = CertificateParams::default();
        authority.distinguished_name = subject(&self.certificate)?;
        let signer = KeyPair::from_pem(&self.key).context("the authority's key is unusable")?;
        let key = KeyPair::generate()?;
        let certificate = wanted.signed_by(&key, &Issuer::new(authority, signer))?;
        Ok(Self {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn named(name: &str, organization: Option<&str>) -> CertificateParams {
    let mut wanted = CertificateParams::default();
    wanted.distinguished_name = DistinguishedName::new();
    if let Some(organization) = organization {
        wanted
            .distinguished_name
            .push(DnType::OrganizationName, organization);
    }
    wanted.distinguished_name.push(DnType::CommonName, name);
    wanted
}

/// An authority's name, to the byte: whoever verifies compares bytes.
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the method is of one lifetime, a reader is called for with any"
)]
fn subject(certificate: &str) -> Result<DistinguishedName> {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes())
        .context("the authority's certificate is no PEM")?;
    let attributes = yasna::parse_der(&der, |reader| {
        reader.read_sequence(|certificate| {
            let attributes = certificate.next().read_sequence(|body| {
                body.read_optional(|version| {
                    version.read_tagged(Tag::context(0), |number| number.read_der())
                })?;
                let before = ["serial number", "algorithm", "issuer", "validity"];
                for _ in before {
                    body.next().read_der()?;
                }
                let attributes = attributes(body.next())?;
                while body.read_optional(|part| part.read_der())?.is_some() {}
                Ok(attributes)
            });
            for _ in ["algorithm", "signature"] {
                certificate.next().read_der()?;
            }
            attributes
        })
    })
    .context("the authority's certificate is unusable")?;
    let mut name = DistinguishedName::new();
    for (kind, value) in attributes {
        name.push(DnType::from_oid(kind.components()), text(&value)?);
    }
    Ok(name)
}

fn attributes(name: BERReader<'_, '_>) -> ASN1Result<Vec<(ObjectIdentifier, TaggedDerValue)>> {
    let mut all = Vec::new();
    name.read_sequence_of(|part| {
        part.read_set_of(|attribute| {
            all.push(attribute.read_sequence(|attribute| {
                Ok((
                    attribute.next().read_oid()?,
                    attribute.next().read_tagged_der()?,
                ))
            })?);
            Ok(())
        })
    })?;
    Ok(all)
}

fn text(value: &TaggedDerValue) -> Result<DnValue> {
    let text = std::str::from_utf8(value.value())?;
    Ok(match value.tag() {
        TAG_UTF8STRING => DnValue::Utf8String(text.to_owned()),
        TAG_PRINTABLESTRING => DnValue::PrintableString(text.try_into()?),
        TAG_IA5STRING => DnValue::Ia5String(text.try_into()?),
        other => bail!("the authority's name holds {other:?}, which is no known text"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_s_name_is_read_as_it_was_written() {
        let mut written = DistinguishedName::new();
        let printable = "Some Place".try_into().expect("printable");
        written.push(DnType::LocalityName, DnValue::PrintableString(printable));
        written.push(DnType::CommonName, "etcd of a tenant, ümlaut");
        let mut params = CertificateParams::default();
        params.distinguished_name = written.clone();
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let read = subject(&certificate.pem()).expect("a name");
        assert_eq!(read, written);
    }
}
