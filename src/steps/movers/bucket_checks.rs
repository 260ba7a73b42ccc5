//! What can be known of a bucket before bytes go through it.
use std::net::IpAddr;

use anyhow::Result;
use bytes::Bytes;
use http::Uri;

use super::{Movers, Through};
use crate::{
    adapters::s3::S3Error,
    engine::Check,
    plan::{MoverWay, Size},
    steps::inventory::Mode,
    transfer::archive::most_bytes,
};

const NAME: &str = "bucket";

impl Movers {
    /// The checks of the bucket that bytes may go through; none where there is none. What keeps them from it forbids to
    /// begin only where they may go by no other way.
    pub async fn check_bucket(&self) -> Vec<Check> {
        let Some(through) = &self.through else {
            return Vec::new();
        };
        let only = self.allowed == [MoverWay::Bucket];
        let said = |object: String, evidence: String, cure: String| {
            if only {
                Check::block(NAME, object, evidence, cure)
            } else {
                Check::warn(NAME, object, evidence, cure)
            }
        };
        let object = || through.address().to_owned();
        let mut checks = Vec::new();
        match through.tried().await {
            Ok(endpoint) => {
                let evidence = "answers, and takes and gives back what is put there".to_owned();
                checks.push(Check::pass(NAME, object(), evidence));
                checks.extend(
                    remote(endpoint.as_deref())
                        .map(|(evidence, cure)| said(object(), evidence, cure)),
                );
                checks.extend(
                    plain(endpoint.as_deref())
                        .map(|(evidence, cure)| Check::warn(NAME, object(), evidence, cure)),
                );
            }
            Err(error) => {
                let next = error.downcast_ref().and_then(S3Error::next);
                let cure =
                    next.map_or_else(String::new, |(command, what)| format!("`{command}` {what}"));
                checks.push(said(object(), format!("{error:#}"), cure));
            }
        }
        for volume in &self.volumes {
            let object = self.source.object("persistentvolumeclaim", &volume.source);
            if volume.mode == Mode::Block {
                let evidence =
                    "is a device, and through the bucket go archives of file systems".to_owned();
                let cure = "let its movers reach each other, or the client reach both".to_owned();
                checks.push(said(object, evidence, cure));
            } else if volume.capacity > most_bytes() {
                let evidence = format!(
                    "has {}, and an archive in the bucket has room for {}",
                    Size(volume.capacity),
                    Size(most_bytes())
                );
                let cure =
                    "see that it holds no more than that, or that its movers reach each other";
                checks.push(Check::warn(NAME, object, evidence, cure));
            }
        }
        checks
    }
}

impl Through {
    /// Puts something small there and takes it away again; the server's URL, none for AWS.
    async fn tried(&self) -> Result<Option<String>> {
        let bucket = self.bucket().await?;
        bucket.list(&self.folder().join("").key).await?;
        let key = self.folder().join("_preflight").key;
        // What an earlier try could not take away.
        bucket.delete(&key).await?;
        bucket.put_new(&key, Bytes::new()).await?.keep();
        bucket.delete(&key).await?;
        Ok(bucket.access().endpoint)
    }
}

/// Why pods cannot reach a server at this URL.
fn remote(endpoint: Option<&str>) -> Option<(String, String)> {
    let uri: Uri = endpoint?.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let own = host == "localhost" || host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
    own.then(|| {
        (
            format!("its server is at {host}, which is to each pod the pod itself"),
            "give the server by an address that the movers reach as well".to_owned(),
        )
    })
}

/// Who can read what passes to a server at this URL.
fn plain(endpoint: Option<&str>) -> Option<(String, String)> {
    let plain = endpoint?.starts_with("http://");
    plain.then(|| {
        (
            "is spoken to without TLS".to_owned(),
            "whoever is on the way can read what is in the volumes; use an endpoint with https"
                .to_owned(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_the_client_s_own_machine_is_none_to_pods() {
        for own in [
            "http://localhost:9000",
            "https://127.0.0.1:7070",
            "https://[::1]:9000",
        ] {
            assert!(remote(Some(own)).is_some(), "{own}");
        }
        for other in [
            None,
            Some("https://minio.example:9000"),
            Some("https://10.0.0.1"),
        ] {
            assert!(remote(other).is_none(), "{other:?}");
        }
        assert!(plain(Some("http://minio.example")).is_some());
        assert!(plain(Some("https://minio.example")).is_none() && plain(None).is_none());
    }
}
