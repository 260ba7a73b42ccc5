use std::fmt;

use super::{super::kube::KubeError, Address};

/// What was asked of a server, for people: `write s3://backups/t1/manifest.json at https://s3.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What was to be done, such as `write`.
    pub verb: &'static str,
    /// With which object, or with keys of which prefix.
    pub object: Address,
    /// The server.
    pub endpoint: String,
    /// Where the credentials came from, such as `secret shop/backups`.
    pub as_whom: String,
}

impl Request {
    /// The right that it needs, as policies name it.
    fn right(&self) -> &'static str {
        match self.verb {
            "read" => "s3:GetObject",
            "list" => "s3:ListBucket",
            "delete" => "s3:DeleteObject",
            _ => "s3:PutObject",
        }
    }

    /// Whether it is for room in the bucket.
    pub(super) fn writes(&self) -> bool {
        self.verb == "write"
    }

    /// The flag that names the server to other programs; nothing for AWS itself.
    fn endpoint_flag(&self) -> String {
        match self.endpoint.as_str() {
            AWS => String::new(),
            endpoint => format!(" --endpoint-url {endpoint}"),
        }
    }
}

/// How a server is shown that no endpoint was given for.
pub(super) const AWS: &str = "AWS";

impl fmt::Display for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {} at {}",
            self.verb, self.object, self.endpoint
        )
    }
}

/// A failure of a bucket or its server. Each text is one line, names the object and the server, and carries its
/// cause: there is no `source`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum S3Error {
    /// There are no credentials anywhere.
    #[error("no credentials for the bucket: {tried}")]
    NoCredentials {
        /// Where it was looked for them.
        tried: String,
    },
    /// A setting is not what it should be: no URL, no PEM.
    #[error("{what} cannot be used: {cause}")]
    Setting {
        /// Which, and where it is.
        what: String,
        /// Why.
        cause: String,
    },
    /// The same of one that was given on the command line.
    #[error("{what} cannot be used: {cause}")]
    Flag {
        /// Which.
        what: String,
        /// Why.
        cause: String,
    },
    /// The Secret with the settings could not be read.
    #[error(transparent)]
    Cluster(#[from] KubeError),
    /// The server does not know the credentials, or takes them no longer.
    #[error("cannot {request}: the server refuses the credentials of {}: {cause}", .request.as_whom)]
    Credentials {
        /// What was asked for.
        request: Box<Request>,
        /// The server's word for it, and what it means.
        cause: String,
    },
    /// The credentials are good, and lack the right.
    #[error("cannot {request}: the credentials of {} lack {}: {cause}", .request.as_whom, .request.right())]
    Forbidden {
        /// What was asked for.
        request: Box<Request>,
        /// The server's text.
        cause: String,
    },
    /// The bucket does not exist.
    #[error("cannot {request}: there is no bucket {}", .request.object.bucket)]
    NoBucket {
        /// What was asked for.
        request: Box<Request>,
    },
    /// The object does not exist.
    #[error("cannot {request}: there is no such object")]
    NotFound {
        /// What was asked for.
        request: Box<Request>,
    },
    /// The bucket is in another region than the one that was asked.
    #[error("cannot {request}: the bucket is not in region {asked}{}", known(.region.as_deref()))]
    OtherRegion {
        /// What was asked for.
        request: Box<Request>,
        /// The region that was asked.
        asked: String,
        /// Where the bucket is, if the server said so.
        region: Option<String>,
    },
    /// The two clocks are too far apart.
    #[error(
        "cannot {request}: this machine's clock says {ours}, and the server's {theirs}, which is too far apart"
    )]
    Clock {
        /// What was asked for.
        request: Box<Request>,
        /// This machine's time.
        ours: String,
        /// The server's time.
        theirs: String,
    },
    /// The server's certificate is not trusted.
    #[error("cannot {request}: its certificate is not trusted: {cause}")]
    Untrusted {
        /// What was asked for.
        request: Box<Request>,
        /// The TLS library's text.
        cause: String,
    },
    /// No answer: refused, reset, hanging, or no such host.
    #[error("cannot {request}: no answer, again and again: {cause}")]
    Unreachable {
        /// What was asked for.
        request: Box<Request>,
        /// The last failure.
        cause: String,
    },
    /// The server fails or throttles, again and again.
    #[error("cannot {request}: the server fails, again and again: {cause}")]
    Failed {
        /// What was asked for.
        request: Box<Request>,
        /// Its last answer.
        cause: String,
    },
    /// The bucket, or what its server has to keep it on, is full.
    #[error("cannot {request}: there is no room left for it there: {cause}")]
    Full {
        /// What was to be written.
        request: Box<Request>,
        /// The server's text.
        cause: String,
    },
    /// The server, or what stands before it, takes nothing so large at once.
    #[error("cannot {request}: it is more than is taken there at once: {cause}")]
    TooLarge {
        /// What was to be written.
        request: Box<Request>,
        /// The server's text.
        cause: String,
    },
    /// There is one already, which is kept.
    #[error("cannot {request}: there is one already, which is kept as it is")]
    Exists {
        /// What was asked for.
        request: Box<Request>,
    },
    /// What arrived, or what is there, is not what was sent.
    #[error("{object} is damaged: {what}")]
    Damaged {
        /// The object.
        object: Box<Address>,
        /// What was seen.
        what: String,
    },
    /// Anything else.
    #[error("cannot {request}: {cause}")]
    Other {
        /// What was asked for.
        request: Box<Request>,
        /// The server's or the library's text.
        cause: String,
    },
}

fn known(region: Option<&str>) -> String {
    region.map_or_else(String::new, |region| format!(", but in {region}"))
}

impl S3Error {
    /// True when other credentials may help.
    #[must_use]
    pub fn is_about_credentials(&self) -> bool {
        matches!(self, Self::Credentials { .. })
    }

    /// True when the world does not allow it, and the same request would fail again until somebody changes that.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Unreachable { .. }
                | Self::Failed { .. }
                | Self::Damaged { .. }
                | Self::Other { .. }
                | Self::Cluster(_)
        )
    }

    /// A setting that cannot be used; `flag` says that it was given on the command line.
    pub(super) fn setting(flag: bool, what: String, cause: String) -> Self {
        if flag {
            Self::Flag { what, cause }
        } else {
            Self::Setting { what, cause }
        }
    }

    /// The same failure of a setting that was given on the command line.
    pub(super) fn of_flag(self) -> Self {
        match self {
            Self::Setting { what, cause } => Self::Flag { what, cause },
            other => other,
        }
    }

    /// A command that helps from here, with what it does.
    #[must_use]
    pub fn next(&self) -> Option<(String, String)> {
        let next = |command: String, what: &str| Some((command, what.to_owned()));
        match self {
            Self::NoCredentials { .. } => next(
                "export AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=…".to_owned(),
                "gives them; AWS_PROFILE names a profile, --s3-secret a Secret of the namespace",
            ),
            Self::Credentials { request, .. } => {
                let look = match request.as_whom.strip_prefix("secret ") {
                    Some(secret) => {
                        let (namespace, name) = secret.split_once('/').unwrap_or(("", secret));
                        format!("kubectl describe secret {name} -n {namespace}")
                    }
                    None => "aws configure list".to_owned(),
                };
                next(look, "shows where they are; put the right ones there")
            }
            Self::Forbidden { request, .. } => next(
                format!(
                    "aws s3api get-bucket-policy --bucket {}{}",
                    request.object.bucket,
                    request.endpoint_flag()
                ),
                "shows who may do what, to who may see it",
            ),
            Self::NoBucket { request } => next(
                format!(
                    "aws s3api create-bucket --bucket {}{}",
                    request.object.bucket,
                    request.endpoint_flag()
                ),
                "makes it; or check its name and the endpoint",
            ),
            Self::OtherRegion {
                request, region, ..
            } => match region {
                Some(region) => next(
                    format!("--region {region}"),
                    "added to the command asks there",
                ),
                None => next(
                    format!(
                        "aws s3api get-bucket-location --bucket {}{}",
                        request.object.bucket,
                        request.endpoint_flag()
                    ),
                    "tells what --region has to say",
                ),
            },
            Self::Clock { .. } => next(
                "timedatectl timesync-status".to_owned(),
                "tells whether this machine's clock is set by anybody",
            ),
            Self::Untrusted { request, .. } => next(
                format!(
                    "openssl s_client -showcerts -connect {}",
                    host(&request.endpoint)
                ),
                "shows its certificates; --ca-file trusts their authority",
            ),
            Self::Unreachable { request, .. } => next(
                format!("curl -sv -o /dev/null {}", request.endpoint),
                "tells whether it answers; check --endpoint, network and VPN",
            ),
            Self::Full { request, .. } => next(
                format!(
                    "aws s3 ls --recursive --summarize --human-readable s3://{}{}",
                    request.object.bucket,
                    request.endpoint_flag()
                ),
                "shows what it holds; make room there, or enlarge its quota or its disk",
            ),
            Self::TooLarge { request, .. } => next(
                format!("curl -sv -o /dev/null {}", request.endpoint),
                "tells who answers; a proxy before the server has to let larger bodies through (nginx: client_max_body_size)",
            ),
            _ => None,
        }
    }
}

/// `host:port` of a URL.
fn host(endpoint: &str) -> String {
    let rest = endpoint
        .split_once("://")
        .map_or(endpoint, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or(rest);
    if host
        .rsplit(':')
        .next()
        .is_some_and(|port| port.parse::<u16>().is_ok())
    {
        host.to_owned()
    } else {
        format!("{host}:443")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_port() {
        assert_eq!(host("https://s3.example"), "s3.example:443");
        assert_eq!(host("https://s3.example:9000/x"), "s3.example:9000");
    }

    #[test]
    fn every_refusal_names_object_server_and_the_next_command() {
        let request = || {
            Box::new(Request {
                verb: "write",
                object: "s3://backups/t1/manifest.json".parse().expect("an address"),
                endpoint: "https://s3.example".to_owned(),
                as_whom: "secret shop/backups".to_owned(),
            })
        };
        let cause = || "why".to_owned();
        for error in [
            S3Error::Credentials {
                request: request(),
                cause: cause(),
            },
            S3Error::Forbidden {
                request: request(),
                cause: cause(),
            },
            S3Error::NoBucket { request: request() },
            S3Error::OtherRegion {
                request: request(),
                asked: "a".to_owned(),
                region: None,
            },
            S3Error::Clock {
                request: request(),
                ours: cause(),
                theirs: cause(),
            },
            S3Error::Untrusted {
                request: request(),
                cause: cause(),
            },
            S3Error::Unreachable {
                request: request(),
                cause: cause(),
            },
            S3Error::Full {
                request: request(),
                cause: cause(),
            },
            S3Error::TooLarge {
                request: request(),
                cause: cause(),
            },
        ] {
            let text = error.to_string();
            assert!(
                text.starts_with(
                    "cannot write s3://backups/t1/manifest.json at https://s3.example: "
                ),
                "{text}"
            );
            assert!(error.next().is_some(), "{text}");
        }
    }
}
