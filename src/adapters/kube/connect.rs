//! Connects to a cluster as kubectl would.
use std::{net::SocketAddr, path::Path, time::Duration};

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use super::{
    Cluster, ConnectionFlags, KubeError, RetryPolicy, cause,
    cluster::Shown,
    kubeconfig::{self, Environment, Found},
};

/// A host that does not answer a connection within this time is not there.
const CONNECT_BOUND: Duration = Duration::from_secs(10);

/// A bound for `--request-timeout=0`: long enough to mean "none", short enough to add to a clock.
const NO_BOUND: Duration = Duration::from_hours(24);

/// Makes a client from flags and kubeconfig. Dials nothing, but may run the kubeconfig's credential plugin.
pub async fn connect(flags: &ConnectionFlags) -> Result<Cluster, KubeError> {
    connect_in(flags, &Environment::of_this_process()).await
}

async fn connect_in(
    flags: &ConnectionFlags,
    environment: &Environment,
) -> Result<Cluster, KubeError> {
    let (config, shown) = match kubeconfig::find(flags, environment)? {
        Found::Config(choice) => {
            let config = from_kubeconfig(choice.kubeconfig, &choice.file).await?;
            let context = if choice.context_name.is_empty() {
                "(no context)".to_owned()
            } else {
                choice.context_name
            };
            let shown = Shown {
                context,
                server: config.cluster_url.to_string(),
                kubeconfig_user: choice.user_name,
            };
            (config, shown)
        }
        Found::Nowhere { looked_at } => in_cluster(flags, &looked_at)?,
    };
    client_of(config, shown, policy(flags.request_timeout)).await
}

/// Makes a client of another cluster's API server, which is dialled at `dial` (a tunnel's end on this machine)
/// instead of where its kubeconfig says; its certificate is still verified for the name there. `shown` names it
/// to people.
pub async fn connect_through(
    kubeconfig: &str,
    shown: &str,
    dial: SocketAddr,
) -> Result<Cluster, KubeError> {
    let unusable = |cause: String| KubeError::Other {
        what: format!("cannot use the kubeconfig of {shown}"),
        cause,
    };
    let kubeconfig =
        Kubeconfig::from_yaml(kubeconfig).map_err(|error| unusable(cause::text(&error)))?;
    holds_data_only(&kubeconfig).map_err(|field| {
        unusable(format!(
            "it names {field}, which is of the machine that it was written for"
        ))
    })?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| unusable(cause::text(&error)))?;
    let host = config
        .cluster_url
        .host()
        .map(|host| host.trim_matches(['[', ']']).to_owned());
    if config.tls_server_name.is_none() {
        config.tls_server_name = host;
    }
    config.cluster_url = format!("https://{dial}")
        .parse()
        .map_err(|error: http::uri::InvalidUri| unusable(error.to_string()))?;
    // The user's proxy leads to the servers of the user's network, not to this machine.
    config.proxy_url = None;
    let shown = Shown {
        context: shown.to_owned(),
        server: config.cluster_url.to_string(),
        kubeconfig_user: "the tenant's administrator".to_owned(),
    };
    client_of(config, shown, policy(None)).await
}

/// A kubeconfig out of a cluster must run no program here, and read no file of this machine.
fn holds_data_only(kubeconfig: &Kubeconfig) -> Result<(), &'static str> {
    let users = kubeconfig
        .auth_infos
        .iter()
        .filter_map(|user| user.auth_info.as_ref());
    for user in users {
        for (field, given) in [
            ("an exec plugin", user.exec.is_some()),
            ("an auth provider", user.auth_provider.is_some()),
            (
                "a client certificate's file",
                user.client_certificate.is_some(),
            ),
            ("a client key's file", user.client_key.is_some()),
            ("a token's file", user.token_file.is_some()),
        ] {
            if given {
                return Err(field);
            }
        }
    }
    let clusters = kubeconfig
        .clusters
        .iter()
        .filter_map(|cluster| cluster.cluster.as_ref());
    for cluster in clusters {
        if cluster.certificate_authority.is_some() {
            return Err("a certificate authority's file");
        }
    }
    Ok(())
}

async fn client_of(
    mut config: Config,
    shown: Shown,
    policy: RetryPolicy,
) -> Result<Cluster, KubeError> {
    config.connect_timeout = Some(CONNECT_BOUND);
    // Retries are ours: kube's know neither a guard nor an ambiguous create.
    config.default_retry = false;
    let kubeconfig_user = shown.kubeconfig_user.clone();
    let server = shown.server.clone();
    // A credential plugin is a process that may ask or hang: not on the thread that serves everyone.
    let made = tokio::task::spawn_blocking({
        let runtime = tokio::runtime::Handle::current();
        move || {
            let _inside = runtime.enter();
            let namespace = config.default_namespace.clone();
            kube::Client::try_from(config).map(|client| (client, namespace))
        }
    })
    .await
    .map_err(|error| KubeError::Other {
        what: "cannot make a client".to_owned(),
        cause: error.to_string(),
    })?;
    let (client, namespace) = made.map_err(|error| match cause::class(&error) {
        cause::Class::Auth => KubeError::Auth {
            user: kubeconfig_user,
            server,
            cause: cause::text(&error),
        },
        _ => KubeError::Tls {
            server,
            cause: cause::text(&error),
        },
    })?;
    Ok(Cluster::over(client, shown, &namespace, policy))
}

async fn from_kubeconfig(kubeconfig: Kubeconfig, file: &Path) -> Result<Config, KubeError> {
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| KubeError::Kubeconfig {
            file: file.to_owned(),
            cause: cause::text(&error),
        })
}

/// A pod's own service account; flags that need a kubeconfig cannot work there.
fn in_cluster(flags: &ConnectionFlags, looked_at: &Path) -> Result<(Config, Shown), KubeError> {
    if let Some(context) = &flags.context {
        return Err(KubeError::Kubeconfig {
            file: looked_at.to_owned(),
            cause: format!("no context \"{context}\": there is no such file"),
        });
    }
    let mut config = Config::incluster().map_err(|error| KubeError::Kubeconfig {
        file: looked_at.to_owned(),
        cause: format!(
            "there is no such file, and this is no pod ({})",
            cause::text(&error)
        ),
    })?;
    if let Some(namespace) = &flags.namespace {
        config.default_namespace.clone_from(namespace);
    }
    kubeconfig::override_user(&mut config.auth_info, flags);
    let shown = Shown {
        context: "in-cluster".to_owned(),
        server: config.cluster_url.to_string(),
        kubeconfig_user: "service account of this pod".to_owned(),
    };
    Ok((config, shown))
}

fn policy(request_timeout: Option<Duration>) -> RetryPolicy {
    let policy = RetryPolicy::default();
    match request_timeout {
        None => policy,
        Some(Duration::ZERO) => RetryPolicy {
            single_try: NO_BOUND,
            total: NO_BOUND,
            ..policy
        },
        Some(bound) => RetryPolicy {
            single_try: bound,
            total: policy.total.max(bound),
            ..policy
        },
    }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
