//! Finds, merges and overrides kubeconfig files by kubectl's rules.
use std::{
    collections::HashMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use kube::config::{
    AuthInfo, Cluster, Context, Kubeconfig, KubeconfigError, NamedAuthInfo, NamedCluster,
    NamedContext,
};

use super::{ConnectionFlags, KubeError, cause};

/// The environment that kubectl itself reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    pub kubeconfig: Option<OsString>,
    pub home: Option<PathBuf>,
}

impl Environment {
    pub(super) fn of_this_process() -> Self {
        Self {
            kubeconfig: std::env::var_os("KUBECONFIG"),
            home: std::env::home_dir(),
        }
    }
}

/// What the files and flags together say. `Nowhere` leaves the in-cluster credentials.
#[derive(Debug)]
pub(super) enum Found {
    Config(Box<Choice>),
    Nowhere { looked_at: PathBuf },
}

/// One cluster, one user, one namespace.
#[derive(Debug)]
pub(super) struct Choice {
    pub kubeconfig: Kubeconfig,
    /// The files, joined as in `KUBECONFIG`.
    pub file: PathBuf,
    pub context_name: String,
    pub user_name: String,
}

/// The name of the context that the flags make up; kubeconfig names are free, so nobody else's is touched.
const CHOSEN: &str = "kubectl-migrate/chosen";

/// Reads the files and applies the flags.
pub(super) fn find(flags: &ConnectionFlags, environment: &Environment) -> Result<Found, KubeError> {
    let (merged, file) = read(flags, environment)?;
    if merged.clusters.is_empty() && merged.contexts.is_empty() && flags.server.is_none() {
        return Ok(Found::Nowhere { looked_at: file });
    }
    let wrong = |cause: String| KubeError::Kubeconfig {
        file: file.clone(),
        cause,
    };
    let context_name = flags
        .context
        .clone()
        .or_else(|| merged.current_context.clone())
        .unwrap_or_default();
    let context = choose_context(&merged, &context_name, flags).map_err(wrong)?;
    let cluster_name = flags
        .cluster
        .clone()
        .unwrap_or_else(|| context.cluster.clone());
    let mut cluster = choose_cluster(&merged, &cluster_name, flags).map_err(wrong)?;
    override_cluster(&mut cluster, flags);
    let user_name = flags
        .user
        .clone()
        .or_else(|| context.user.clone())
        .unwrap_or_default();
    let mut user = choose_user(&merged, &user_name, flags).map_err(wrong)?;
    override_user(&mut user, flags);
    let namespace = flags
        .namespace
        .clone()
        .or(context.namespace)
        .filter(|name| !name.is_empty());
    let kubeconfig = Kubeconfig {
        clusters: vec![NamedCluster {
            name: CHOSEN.to_owned(),
            cluster: Some(cluster),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: CHOSEN.to_owned(),
            auth_info: Some(user),
            ..NamedAuthInfo::default()
        }],
        contexts: vec![NamedContext {
            name: CHOSEN.to_owned(),
            context: Some(Context {
                cluster: CHOSEN.to_owned(),
                user: Some(CHOSEN.to_owned()),
                namespace,
                ..Context::default()
            }),
            ..NamedContext::default()
        }],
        current_context: Some(CHOSEN.to_owned()),
        ..Kubeconfig::default()
    };
    Ok(Found::Config(Box::new(Choice {
        kubeconfig,
        file,
        context_name,
        user_name,
    })))
}

/// `--kubeconfig` alone, or the files of `KUBECONFIG` that exist, or `~/.kube/config` if it exists.
fn read(
    flags: &ConnectionFlags,
    environment: &Environment,
) -> Result<(Kubeconfig, PathBuf), KubeError> {
    if let Some(file) = &flags.kubeconfig {
        return Ok((read_file(file)?, file.clone()));
    }
    let variable = environment
        .kubeconfig
        .clone()
        .filter(|value| !value.is_empty());
    let (files, shown) = match variable {
        Some(list) => {
            let files = std::env::split_paths(&list)
                .filter(|file| !file.as_os_str().is_empty())
                .collect();
            (files, PathBuf::from(list))
        }
        None => match &environment.home {
            Some(home) => (vec![home.join(".kube/config")], home.join(".kube/config")),
            None => (Vec::new(), PathBuf::from("~/.kube/config")),
        },
    };
    let mut merged = Kubeconfig::default();
    for file in files.iter().filter(|file: &&PathBuf| file.exists()) {
        merged = merged
            .merge(read_file(file)?)
            .map_err(|error| KubeError::Kubeconfig {
                file: file.clone(),
                cause: cause::text(&error),
            })?;
    }
    Ok((merged, shown))
}

fn read_file(file: &Path) -> Result<Kubeconfig, KubeError> {
    Kubeconfig::read_from(file).map_err(|error| KubeError::Kubeconfig {
        file: file.to_owned(),
        cause: match error {
            // Its own text names the file once more.
            KubeconfigError::ReadConfig(source, _) => source.to_string(),
            KubeconfigError::Parse(source) => unreadable(&source.to_string()),
            other => cause::text(&other),
        },
    })
}

/// What the reader of YAML says: a place and a reason, before an excerpt of the file, which may hold a
/// secret and has no room on a line.
fn unreadable(said: &str) -> String {
    let first = said.lines().next().unwrap_or_default().trim();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let plain = first
        .replace("expected sequence start", "a list is needed")
        .replace("expected mapping start", "a mapping is needed")
        .replace("expected string scalar", "a text is needed");
    format!("it is no kubeconfig: {plain}")
}

/// The names of all contexts, for completion; none where no kubeconfig can be read.
#[must_use]
pub fn contexts(flags: &ConnectionFlags) -> Vec<String> {
    names(flags, |kubeconfig| {
        let contexts = kubeconfig.contexts.into_iter();
        contexts.map(|named| named.name).collect()
    })
}

/// The names of all clusters, as for [`contexts`].
#[must_use]
pub fn clusters(flags: &ConnectionFlags) -> Vec<String> {
    names(flags, |kubeconfig| {
        let clusters = kubeconfig.clusters.into_iter();
        clusters.map(|named| named.name).collect()
    })
}

/// The names of all users, as for [`contexts`].
#[must_use]
pub fn users(flags: &ConnectionFlags) -> Vec<String> {
    names(flags, |kubeconfig| {
        let users = kubeconfig.auth_infos.into_iter();
        users.map(|named| named.name).collect()
    })
}

fn names(flags: &ConnectionFlags, of: fn(Kubeconfig) -> Vec<String>) -> Vec<String> {
    let read = read(flags, &Environment::of_this_process());
    read.map_or_else(|_| Vec::new(), |(kubeconfig, _)| of(kubeconfig))
}

fn choose_context(
    merged: &Kubeconfig,
    name: &str,
    flags: &ConnectionFlags,
) -> Result<Context, String> {
    let found = merged
        .contexts
        .iter()
        .find(|context| context.name == name)
        .and_then(|named| named.context.clone());
    match found {
        Some(context) => Ok(context),
        None if flags.context.is_some() => {
            let known: Vec<&str> = merged
                .contexts
                .iter()
                .map(|context| context.name.as_str())
                .collect();
            Err(format!(
                "no context \"{name}\"; it has: {}",
                known.join(", ")
            ))
        }
        None if flags.cluster.is_some() || flags.server.is_some() => Ok(Context::default()),
        None if name.is_empty() => Err("no current-context; choose one with --context".to_owned()),
        None => Err(format!(
            "its current-context \"{name}\" does not exist; choose one with --context"
        )),
    }
}

fn choose_cluster(
    merged: &Kubeconfig,
    name: &str,
    flags: &ConnectionFlags,
) -> Result<Cluster, String> {
    let found = merged
        .clusters
        .iter()
        .find(|cluster| cluster.name == name)
        .and_then(|named| named.cluster.clone());
    match found {
        Some(cluster) => Ok(cluster),
        None if flags.cluster.is_none() && flags.server.is_some() => Ok(Cluster::default()),
        None => Err(format!("no cluster \"{name}\"")),
    }
}

fn choose_user(
    merged: &Kubeconfig,
    name: &str,
    flags: &ConnectionFlags,
) -> Result<AuthInfo, String> {
    let found = merged
        .auth_infos
        .iter()
        .find(|user| user.name == name)
        .and_then(|named| named.auth_info.clone());
    match found {
        Some(user) => Ok(user),
        None if flags.user.is_some() => Err(format!("no user \"{name}\"")),
        None => Ok(AuthInfo::default()),
    }
}

/// client-go's rules: a new server drops the old server's TLS name, and trust given by a flag
/// replaces the trust of the file instead of adding to it.
fn override_cluster(cluster: &mut Cluster, flags: &ConnectionFlags) {
    if let Some(server) = &flags.server {
        cluster.server = Some(with_scheme(server));
        cluster.tls_server_name = None;
    }
    if let Some(name) = &flags.tls_server_name {
        cluster.tls_server_name = Some(name.clone());
    }
    if let Some(file) = &flags.certificate_authority {
        cluster.certificate_authority = Some(text_of(file));
        cluster.certificate_authority_data = None;
        cluster.insecure_skip_tls_verify = None;
    }
    if flags.insecure_skip_tls_verify {
        cluster.insecure_skip_tls_verify = Some(true);
        cluster.certificate_authority = None;
        cluster.certificate_authority_data = None;
    }
}

pub(super) fn override_user(user: &mut AuthInfo, flags: &ConnectionFlags) {
    if let Some(token) = &flags.token {
        // Whatever would set an Authorization header of its own gives way.
        user.token = Some(token.clone());
        user.token_file = None;
        user.username = None;
        user.password = None;
        user.exec = None;
        user.auth_provider = None;
    }
    if let Some(file) = &flags.client_certificate {
        user.client_certificate = Some(text_of(file));
        user.client_certificate_data = None;
    }
    if let Some(file) = &flags.client_key {
        user.client_key = Some(text_of(file));
        user.client_key_data = None;
    }
    if let Some(name) = &flags.impersonate {
        user.impersonate = Some(name.clone());
    }
    if let Some(uid) = &flags.impersonate_uid {
        user.impersonate_uid = Some(uid.clone());
    }
    if !flags.impersonate_groups.is_empty() {
        user.impersonate_groups = Some(flags.impersonate_groups.clone());
    }
    if !flags.impersonate_extra.is_empty() {
        let mut extra: HashMap<String, Vec<String>> = HashMap::new();
        for (key, value) in &flags.impersonate_extra {
            extra.entry(key.clone()).or_default().push(value.clone());
        }
        user.impersonate_user_extra = Some(extra);
    }
}

/// kubectl takes `host:port` as well, and means https only when TLS is configured; a bare name here is https.
fn with_scheme(server: &str) -> String {
    if server.contains("://") {
        server.to_owned()
    } else {
        format!("https://{server}")
    }
}

fn text_of(file: &Path) -> String {
    file.to_string_lossy().into_owned()
}

#[cfg(test)]
#[path = "kubeconfig_tests.rs"]
mod tests;
