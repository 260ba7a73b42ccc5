//! kubectl's own connection flags, with kubectl's meanings.
use std::{path::PathBuf, time::Duration};

use secrecy::SecretString;

/// Which cluster to talk to, and as whom.
///
/// Also filled by hand for a second cluster (`--to-context`, `--to-kubeconfig`): connecting is a
/// function of this value and of nothing else but the environment of kubectl itself.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Connection (as kubectl's)")]
pub struct ConnectionFlags {
    /// Path to the kubeconfig file to use
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of the kubeconfig context to use
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Name of the kubeconfig cluster to use
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// Name of the kubeconfig user to use
    #[arg(long, global = true, value_name = "NAME")]
    pub user: Option<String>,
    /// Namespace of the request; the context's own if not given
    #[arg(long, short = 'n', global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Username to impersonate
    #[arg(long = "as", global = true, value_name = "USER")]
    pub impersonate: Option<String>,
    /// Group to impersonate; may be repeated
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub impersonate_groups: Vec<String>,
    /// UID to impersonate
    #[arg(long = "as-uid", global = true, value_name = "UID")]
    pub impersonate_uid: Option<String>,
    /// Extra field to impersonate, as key=value; may be repeated
    #[arg(long = "as-user-extra", global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub impersonate_extra: Vec<(String, String)>,
    /// Bound of a single request to the server, such as 1s, 2m or 3h; 0 for none
    #[arg(long, global = true, value_name = "DURATION", value_parser = request_timeout)]
    pub request_timeout: Option<Duration>,
    /// Address and port of the Kubernetes API server
    #[arg(long, short = 's', global = true, value_name = "URL")]
    pub server: Option<String>,
    /// Bearer token for authentication to the API server
    #[arg(long, global = true, value_name = "TOKEN")]
    pub token: Option<SecretString>,
    /// Path to a certificate file for the certificate authority
    #[arg(long, global = true, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,
    /// Path to a client certificate file for TLS
    #[arg(long, global = true, value_name = "FILE")]
    pub client_certificate: Option<PathBuf>,
    /// Path to a client key file for TLS
    #[arg(long, global = true, value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// Server name to use for checking the server's certificate
    #[arg(long, global = true, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// Do not check the server's certificate; this makes connections insecure
    #[arg(long, global = true)]
    pub insecure_skip_tls_verify: bool,
    /// Accepted because kubectl has it; nothing is cached
    #[arg(long, global = true, value_name = "DIR")]
    pub cache_dir: Option<PathBuf>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("give it as key=value".to_owned()),
    }
}

/// kubectl's rule: a bare number is seconds, anything else has units.
fn request_timeout(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "give it as 30s, 2m or 1h30m".to_owned())?;
    Duration::try_from(span).map_err(|_| "a bound cannot be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        connection: ConnectionFlags,
    }

    #[test]
    fn flags_read_as_kubectls() {
        let program = Program::try_parse_from([
            "x",
            "-n",
            "shop",
            "-s",
            "https://a:6443",
            "--as",
            "jane",
            "--as-group=a",
            "--as-group=b",
            "--as-user-extra=scopes=read=all",
            "--request-timeout=1m30s",
            "--token=hidden",
        ])
        .expect("kubectl's own flags");
        let flags = program.connection;
        assert_eq!(flags.namespace.as_deref(), Some("shop"));
        assert_eq!(flags.impersonate_groups, ["a", "b"]);
        assert_eq!(
            flags.impersonate_extra,
            [("scopes".to_owned(), "read=all".to_owned())]
        );
        assert_eq!(flags.request_timeout, Some(Duration::from_secs(90)));
        assert!(!format!("{flags:?}").contains("hidden"));
    }

    #[test]
    fn a_bare_number_is_seconds() {
        assert_eq!(request_timeout("5"), Ok(Duration::from_secs(5)));
        assert_eq!(request_timeout("0"), Ok(Duration::ZERO));
        assert!(request_timeout("soon").is_err());
        assert!(request_timeout("-1s").is_err());
    }
}
