//! Buckets on the command line.
use std::{fmt, path::PathBuf, str::FromStr};

use anyhow::Result;

use crate::{
    adapters::s3::{Address, Bucket, Given, SCHEME, Settings, Source},
    context::Context,
    error::Usage,
    plan::BucketPlace,
    steps::snapshots::{Repository, SnapshotId},
};

/// Which S3 server, and as whom. What is not given comes from the Secret, or else from the environment and the
/// profile that other programs for S3 read.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct BucketFlags {
    /// URL of the S3 server, where it is not AWS's
    #[arg(long, value_name = "URL", help_heading = "Bucket")]
    endpoint: Option<String>,
    /// Region of the bucket
    #[arg(long, value_name = "NAME", help_heading = "Bucket")]
    region: Option<String>,
    /// Certificates of the authorities that the server's may be of, instead of the system's
    #[arg(long, value_name = "FILE", help_heading = "Bucket")]
    ca_file: Option<PathBuf>,
    /// Secret of the namespace with `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, and what else is needed
    #[arg(long, value_name = "NAME", help_heading = "Bucket")]
    s3_secret: Option<String>,
}

impl BucketFlags {
    /// Opens the bucket of an address, which is the repository's place in it. Nothing is asked of it yet.
    pub(super) async fn open(&self, cx: &Context, address: &Address) -> Result<Repository> {
        let settings = self.settings(cx).await?;
        let bucket = Bucket::open(&address.bucket, settings)?;
        Ok(Repository::new(bucket, &address.key))
    }

    /// The place as a plan names it: with what was found out about its server, so that whoever goes on with it later,
    /// from elsewhere, asks the same one.
    pub(super) async fn place(&self, cx: &Context, address: &Address) -> Result<BucketPlace> {
        let settings = self.settings(cx).await?;
        if settings.is_plain() {
            cx.ui.warn(
                "the bucket is spoken to without TLS: whoever is on the way can read what is in the volumes",
            );
        }
        let given = settings.given();
        Ok(BucketPlace {
            address: address.to_string(),
            endpoint: given.endpoint,
            region: given.region,
            authority: given.pem,
            secret: self.s3_secret.clone(),
        })
    }

    async fn settings(&self, cx: &Context) -> Result<Settings> {
        let given = Given {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            authority: self.ca_file.clone(),
            pem: None,
        };
        let source = match &self.s3_secret {
            Some(name) => Source::Secret {
                cluster: Box::new(cx.source().await?.clone()),
                namespace: cx.namespace().await?,
                name: name.clone(),
            },
            None => Source::user(),
        };
        Ok(Settings::read(given, source).await?)
    }

    /// The flags as they were given, each with a space before it: for a command to type.
    pub(super) fn words(&self) -> String {
        let file = self.ca_file.as_ref().map(|file| file.display().to_string());
        [
            ("endpoint", &self.endpoint),
            ("region", &self.region),
            ("ca-file", &file),
            ("s3-secret", &self.s3_secret),
        ]
        .into_iter()
        .filter_map(|(flag, value)| Some(format!(" --{flag} {}", value.as_ref()?)))
        .collect()
    }

    /// Refuses flags of a bucket where another one that would name it is missing.
    pub(super) fn are_of_no_use_without(&self, missing: &str) -> Result<()> {
        match self.words().split_whitespace().next() {
            None => Ok(()),
            Some(flag) => {
                let why = format!(
                    "{flag} is for a bucket, and none is named: add {missing} s3://BUCKET/PREFIX"
                );
                Err(Usage(why).into())
            }
        }
    }

    /// Refuses flags of a bucket where none is meant.
    pub(super) fn are_of_no_use(&self) -> Result<()> {
        match self.words().split_whitespace().next() {
            None => Ok(()),
            Some(flag) => Err(Usage(format!(
                "{flag} is for a bucket, and a file is named: leave it out"
            ))
            .into()),
        }
    }
}

/// A file, or a place in a bucket.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    File(PathBuf),
    Bucket(Address),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with(SCHEME) {
            return Ok(Self::Bucket(text.parse()?));
        }
        match text.split_once("://") {
            Some((scheme, _)) => Err(format!(
                "`{scheme}://` is not known: name a file, or s3://BUCKET/PREFIX"
            )),
            None if text.is_empty() => Err("it is empty".to_owned()),
            None => Ok(Self::File(text.into())),
        }
    }
}

/// A snapshot in a bucket: where its repository is, and what it is called there.
#[derive(Clone, Debug)]
pub(crate) struct InBucket {
    pub(super) repository: Address,
    pub(super) id: SnapshotId,
}

impl InBucket {
    pub(super) fn of(address: &Address) -> Result<Self, String> {
        let unlike = || {
            format!(
                "`{address}` is no snapshot: one is named as s3://BUCKET/PREFIX/NAME/TIME, as `snapshot list` shows them"
            )
        };
        let (rest, time) = address.key.rsplit_once('/').ok_or_else(unlike)?;
        let (prefix, name) = rest.rsplit_once('/').unwrap_or(("", rest));
        Ok(Self {
            id: format!("{name}/{time}").parse().map_err(|_| unlike())?,
            repository: Address {
                bucket: address.bucket.clone(),
                key: prefix.to_owned(),
            },
        })
    }
}

impl FromStr for InBucket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::of(&text.parse()?)
    }
}

impl fmt::Display for InBucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.join(&self.id.to_string()).fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_the_end_of_an_address() {
        for (text, prefix, id) in [
            (
                "s3://backups/a/b/t1/20261128T041500Z",
                "a/b",
                "t1/20261128T041500Z",
            ),
            (
                "s3://backups/t1/20261128T041500Z/",
                "",
                "t1/20261128T041500Z",
            ),
        ] {
            let found: InBucket = text.parse().expect(text);
            assert_eq!(
                (found.repository.key.as_str(), found.id.to_string().as_str()),
                (prefix, id)
            );
            assert_eq!(found.to_string(), text.trim_end_matches('/'));
        }
        for text in [
            "s3://backups",
            "s3://backups/t1",
            "s3://backups/t1/latest",
            "t1/20261128T041500Z",
        ] {
            assert!(text.parse::<InBucket>().is_err(), "{text}");
        }
    }

    #[test]
    fn flags_are_told_again_as_they_were_given() {
        let flags = BucketFlags {
            endpoint: Some("https://s3.example".to_owned()),
            s3_secret: Some("backups".to_owned()),
            ..BucketFlags::default()
        };
        assert_eq!(
            flags.words(),
            " --endpoint https://s3.example --s3-secret backups"
        );
        assert!(flags.are_of_no_use().is_err());
        assert!(BucketFlags::default().are_of_no_use().is_ok());
    }
}
