//! Which server, as whom, and whom to trust: from flags, and from either the user's own settings or a Secret.
use std::{fmt, path::PathBuf};

use aws_runtime::env_config::{file::EnvConfigFiles, section::EnvConfigSections, source};
use aws_types::os_shim_internal::{Env, Fs};
use k8s_openapi::api::core::v1::Secret;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    super::kube::{Cluster, get_opt},
    S3Error,
    access::Again,
};

/// The region of a server that was given none; most that are not AWS's know no other.
const REGION: &str = "us-east-1";
/// What a Secret may hold.
const KEYS: [&str; 6] = [ID, KEY, TOKEN, "AWS_REGION", "AWS_ENDPOINT_URL", "ca.crt"];
const ID: &str = "AWS_ACCESS_KEY_ID";
const KEY: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";
/// What a profile says instead of keys, for logins that we do not make.
const OTHER_LOGINS: [&str; 5] = [
    "sso_session",
    "sso_start_url",
    "role_arn",
    "credential_process",
    "web_identity_token_file",
];

/// What the command line says of a server; it wins over everything else.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The server's URL.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// The file with the certificates of the authorities to trust.
    pub authority: Option<PathBuf>,
    /// The certificates themselves, as PEM, where there is no such file.
    pub pem: Option<String>,
}

/// Where the rest comes from. It is asked again when a server no longer takes the credentials.
#[derive(Clone)]
pub enum Source {
    /// The environment and the profile of the user, as other programs for S3 read them.
    User(Env),
    /// A Secret of the cluster.
    Secret {
        /// Where it is.
        cluster: Box<Cluster>,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Whoever lets us use his own.
    Lent(Again),
}

impl fmt::Debug for Source {
    /// The environment holds secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(_) => formatter.write_str("User"),
            Self::Lent(again) => write!(formatter, "Lent({again:?})"),
            Self::Secret {
                namespace, name, ..
            } => write!(formatter, "Secret({namespace}/{name})"),
        }
    }
}

impl Source {
    /// The user's own settings.
    #[must_use]
    pub fn user() -> Self {
        Self::User(Env::real())
    }
}

/// A server, as one user.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its URL; none for AWS.
    pub(super) endpoint: Option<String>,
    /// Its region.
    pub(super) region: String,
    /// The authorities to trust, as PEM; else those of the system.
    pub(super) authority: Option<String>,
    pub(super) keys: Keys,
    pub(super) source: Source,
}

/// What requests are signed with.
#[derive(Clone)]
pub struct Keys {
    pub(super) id: String,
    pub(super) secret: SecretString,
    pub(super) token: Option<SecretString>,
    /// Where they came from, for people.
    pub(super) from: String,
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        let token = |keys: &Self| Some(keys.token.as_ref()?.expose_secret().to_owned());
        self.id == other.id
            && self.secret.expose_secret() == other.secret.expose_secret()
            && token(self) == token(other)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keys({})", self.from)
    }
}

/// What a source holds.
struct Found {
    keys: Keys,
    endpoint: Option<String>,
    region: Option<String>,
    /// The certificates, and where they were found.
    authority: Option<(String, String)>,
}

impl Settings {
    /// Reads all of them, and checks what can be checked without the server.
    ///
    /// # Errors
    ///
    /// There are no credentials, or something is not what it should be.
    pub async fn read(given: Given, source: Source) -> Result<Self, S3Error> {
        let found = found(&source).await?;
        let of_flag = given.authority.is_some();
        let authority = match given.authority {
            Some(file) => Some(read_file(&file, "--ca-file").map_err(S3Error::of_flag)?),
            None => given
                .pem
                .map(|pem| (pem, "the plan's authority".to_owned()))
                .or(found.authority),
        };
        if let Some((pem, from)) = &authority {
            check_authority(pem).map_err(|cause| {
                let what = from.clone();
                S3Error::setting(of_flag, what, cause)
            })?;
        }
        let of_flag = given.endpoint.is_some();
        let endpoint = given.endpoint.or(found.endpoint);
        if let Some(endpoint) = &endpoint {
            check_endpoint(endpoint)
                .map_err(|cause| S3Error::setting(of_flag, shown_endpoint(endpoint), cause))?;
        }
        Ok(Self {
            endpoint: endpoint.map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
            region: given
                .region
                .or(found.region)
                .unwrap_or_else(|| REGION.to_owned()),
            authority: authority.map(|(pem, _)| pem),
            keys: found.keys,
            source,
        })
    }

    /// The same without credentials, for whoever goes on with them later from elsewhere.
    #[must_use]
    pub fn given(&self) -> Given {
        Given {
            endpoint: self.endpoint.clone(),
            region: Some(self.region.clone()),
            authority: None,
            pem: self.authority.clone(),
        }
    }

    /// Whether everybody on the way can read what passes.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let endpoint = self.endpoint.as_deref();
        endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"))
    }
}

/// The keys that a source has now.
pub(super) async fn keys(source: &Source) -> Result<Keys, S3Error> {
    Ok(found(source).await?.keys)
}

async fn found(source: &Source) -> Result<Found, S3Error> {
    match source {
        Source::User(environment) => of_user(environment).await,
        Source::Lent(again) => match again.keys().await {
            Some(keys) => Ok(Found {
                keys,
                endpoint: None,
                region: None,
                authority: None,
            }),
            None => Err(S3Error::NoCredentials {
                tried: "whoever lent them has none any more".to_owned(),
            }),
        },
        Source::Secret {
            cluster,
            namespace,
            name,
        } => of_secret(cluster, namespace, name).await,
    }
}

async fn of_user(environment: &Env) -> Result<Found, S3Error> {
    // One that is set to nothing is as if it were not set.
    let var = |name: &str| environment.get(name).ok().filter(|text| !text.is_empty());
    let profile = Profile::load(environment).await?;
    let authority = match var("AWS_CA_BUNDLE").or_else(|| profile.get("ca_bundle")) {
        Some(file) => Some(read_file(&PathBuf::from(file), "AWS_CA_BUNDLE")?),
        None => None,
    };
    let keys = match (var(ID), var(KEY)) {
        (Some(id), Some(key)) => Keys {
            id,
            secret: key.into(),
            token: var(TOKEN).map(SecretString::from),
            from: "the environment".to_owned(),
        },
        (None, None) => profile.keys()?,
        (id, _) => {
            let (has, lacks) = if id.is_some() { (ID, KEY) } else { (KEY, ID) };
            let tried = format!("the environment has {has} and no {lacks}");
            return Err(S3Error::NoCredentials { tried });
        }
    };
    Ok(Found {
        keys,
        endpoint: var("AWS_ENDPOINT_URL_S3")
            .or_else(|| var("AWS_ENDPOINT_URL"))
            .or_else(|| profile.get("endpoint_url")),
        region: var("AWS_REGION")
            .or_else(|| var("AWS_DEFAULT_REGION"))
            .or_else(|| profile.get("region")),
        authority,
    })
}

/// The user's profile.
struct Profile {
    sections: EnvConfigSections,
    /// Whether it was named, and so has to be there.
    named: bool,
}

impl Profile {
    async fn load(environment: &Env) -> Result<Self, S3Error> {
        let unusable = |cause: String| S3Error::Setting {
            what: "the profile in ~/.aws".to_owned(),
            cause,
        };
        let (disk, default) = (Fs::real(), EnvConfigFiles::default());
        let files = source::load(environment, &disk, &default).await;
        let files = files.map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            sections: EnvConfigSections::parse(files)
                .map_err(|error| unusable(error.to_string()))?,
            named: environment.get("AWS_PROFILE").is_ok(),
        })
    }

    fn get(&self, key: &str) -> Option<String> {
        self.sections.get(key).map(str::to_owned)
    }

    fn keys(&self) -> Result<Keys, S3Error> {
        let name = self.sections.selected_profile();
        let keys = self
            .get("aws_access_key_id")
            .zip(self.get("aws_secret_access_key"));
        if let Some((id, secret)) = keys {
            return Ok(Keys {
                id,
                secret: secret.into(),
                token: self.get("aws_session_token").map(SecretString::from),
                from: format!("profile {name} in ~/.aws"),
            });
        }
        let other = OTHER_LOGINS.into_iter().find(|key| self.get(key).is_some());
        let tried = match other {
            Some(other) => format!(
                "profile {name} logs in by {other}, which is left to the AWS CLI: \
                 `eval \"$(aws configure export-credentials --profile {name} --format env)\"` gives them to the environment"
            ),
            None if self.named && self.sections.get_profile(name).is_none() => {
                format!("AWS_PROFILE names profile {name}, which is not in ~/.aws")
            }
            None => format!(
                "{ID} and {KEY} are not in the environment, and profile {name} in ~/.aws has none"
            ),
        };
        Err(S3Error::NoCredentials { tried })
    }
}

async fn of_secret(cluster: &Cluster, namespace: &str, name: &str) -> Result<Found, S3Error> {
    let shown = format!("secret {namespace}/{name}");
    let unusable = |key: &str, cause: &str| S3Error::Setting {
        what: if key.is_empty() {
            shown.clone()
        } else {
            format!("{shown}, key {key}")
        },
        cause: cause.to_owned(),
    };
    let secret = get_opt(&cluster.namespaced::<Secret>(namespace), name).await?;
    let data = secret
        .ok_or_else(|| unusable("", "it does not exist"))?
        .data
        .unwrap_or_default();
    let text = |key: &str| -> Result<Option<String>, S3Error> {
        let Some(value) = data.get(key) else {
            return Ok(None);
        };
        let text = String::from_utf8(value.0.clone());
        let text = text.map_err(|_| unusable(key, "it is no text"))?;
        // A file that was put into a Secret ends with a line's end.
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    };
    let needed = |key: &str| {
        text(key)?.ok_or_else(|| {
            let known = KEYS.join(", ");
            unusable(
                key,
                &format!("it is not there or empty; a Secret may have {known}"),
            )
        })
    };
    Ok(Found {
        keys: Keys {
            id: needed(ID)?,
            secret: needed(KEY)?.into(),
            token: text(TOKEN)?.map(SecretString::from),
            from: shown.clone(),
        },
        endpoint: text("AWS_ENDPOINT_URL")?,
        region: text("AWS_REGION")?,
        authority: text("ca.crt")?.map(|pem| (pem, format!("{shown}, key ca.crt"))),
    })
}

fn read_file(file: &PathBuf, who: &str) -> Result<(String, String), S3Error> {
    let what = format!("{who} {}", file.display());
    match std::fs::read_to_string(file) {
        Ok(text) => Ok((text, what)),
        Err(error) => Err(S3Error::Setting {
            what,
            cause: error.to_string(),
        }),
    }
}

/// An endpoint for people. What stands before its host may be a password.
fn shown_endpoint(endpoint: &str) -> String {
    match endpoint.rsplit_once('@') {
        Some((_, host)) => format!("endpoint `…@{host}`"),
        None => format!("endpoint `{endpoint}`"),
    }
}

fn check_endpoint(endpoint: &str) -> Result<(), String> {
    let uri: http::Uri = endpoint.parse().map_err(|_| "it is no URL".to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("a URL begins with https:// or http://".to_owned());
    }
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    if authority.contains('@') {
        return Err("a URL with a password would be seen by everybody".to_owned());
    }
    if uri.query().is_some() || !matches!(uri.path(), "" | "/") {
        return Err(
            "a server's URL has no path: the bucket stands in s3://BUCKET/PREFIX".to_owned(),
        );
    }
    Ok(())
}

/// Whether there are certificates in it that can be trusted.
fn check_authority(pem: &str) -> Result<(), String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("it is no PEM: {error}"))?;
        roots
            .add(certificate)
            .map_err(|error| format!("it is no certificate: {error}"))?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in PEM in it".to_owned());
    }
    Ok(())
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
