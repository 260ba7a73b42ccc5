//! What commands share: flags, the screen, and clusters that are connected to on first use.
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tokio::sync::OnceCell;

use crate::{
    adapters::kube::{Cluster, ConnectionFlags, connect},
    flags::Global,
    plan::Plan,
    state::Keeper,
    ui::Ui,
};

/// The one thing that every command is given.
pub struct Context {
    /// Flags of every verb.
    pub flags: Global,
    /// The screen.
    pub ui: Ui,
    source: OnceCell<Cluster>,
}

impl Context {
    pub(crate) fn new(flags: Global, ui: Ui) -> Self {
        Self {
            flags,
            ui,
            source: OnceCell::new(),
        }
    }

    /// The cluster of the user's context: that of the source and of the journal.
    pub async fn source(&self) -> Result<&Cluster> {
        let connect = || async {
            let cluster = connect(&self.flags.connection).await?;
            Ok::<_, anyhow::Error>(cluster.with_field_manager(&self.flags.field_manager))
        };
        self.source.get_or_try_init(connect).await
    }

    /// The target's cluster, if the plan or a flag names another than the source's.
    pub async fn target(&self, plan: &Plan) -> Result<Option<Cluster>> {
        let context = plan.spec.target.context.clone();
        if context.is_none() && self.flags.to_kubeconfig.is_none() {
            return Ok(None);
        }
        let flags = self.target_flags(context);
        let cluster = connect(&flags)
            .await
            .context("cannot use the target's cluster")?;
        Ok(Some(cluster.with_field_manager(&self.flags.field_manager)))
    }

    /// The flags with which the target's cluster is connected to: who connects and for how long is as at
    /// the source.
    pub(crate) fn target_flags(&self, context: Option<String>) -> ConnectionFlags {
        let own = &self.flags.connection;
        ConnectionFlags {
            kubeconfig: self
                .flags
                .to_kubeconfig
                .clone()
                .or_else(|| own.kubeconfig.clone()),
            context,
            impersonate: own.impersonate.clone(),
            impersonate_groups: own.impersonate_groups.clone(),
            impersonate_uid: own.impersonate_uid.clone(),
            impersonate_extra: own.impersonate_extra.clone(),
            request_timeout: own.request_timeout,
            ..ConnectionFlags::default()
        }
    }

    /// The namespace of `-n`, of the context, or `default`.
    pub async fn namespace(&self) -> Result<String> {
        Ok(self.source().await?.default_namespace().to_owned())
    }

    /// Where journals are kept.
    pub async fn keeper(&self) -> Result<Keeper> {
        match &self.flags.journal {
            Some(file) => Ok(Keeper::File(file.clone())),
            None => Ok(Keeper::Cluster(Box::new(self.source().await?.clone()))),
        }
    }

    /// A command line that the user can type: the verb and its arguments with the flags that say where.
    #[must_use]
    pub fn command(&self, words: &str) -> String {
        let line = self.command_anywhere(words);
        match &self.flags.connection.namespace {
            Some(namespace) => format!("{line} -n {namespace}"),
            None => line,
        }
    }

    /// The same for a migration of this namespace, which a plan may have named and not the user's context.
    #[must_use]
    pub fn command_in(&self, namespace: &str, words: &str) -> String {
        let line = self.command_anywhere(words);
        let own = self.source.get().map(Cluster::default_namespace);
        if self.flags.connection.namespace.is_none() && own == Some(namespace) {
            line
        } else {
            format!("{line} -n {namespace}")
        }
    }

    /// The same without a namespace, for what asks all of them.
    #[must_use]
    pub fn command_anywhere(&self, words: &str) -> String {
        let mut line = format!("{} {words}", self.ui.program());
        for (flag, value) in self.where_to_look() {
            line = match value {
                Some(value) => format!("{line} {flag} {}", quoted(&value)),
                None => format!("{line} {flag}"),
            };
        }
        line
    }

    /// The flags that say where, and as whom: without them a command would be about something else. A token
    /// is a secret, and is never shown.
    fn where_to_look(&self) -> Vec<(&'static str, Option<String>)> {
        let own = &self.flags.connection;
        let file = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let pair = |(key, value): &(String, String)| format!("{key}={value}");
        let groups = own.impersonate_groups.iter().cloned();
        let extra = own.impersonate_extra.iter().map(pair);
        let mut flags = vec![
            ("--context", own.context.clone()),
            ("--kubeconfig", file(&own.kubeconfig)),
            ("--to-kubeconfig", file(&self.flags.to_kubeconfig)),
            ("--cluster", own.cluster.clone()),
            ("--user", own.user.clone()),
            ("--server", own.server.clone()),
            ("--certificate-authority", file(&own.certificate_authority)),
            ("--client-certificate", file(&own.client_certificate)),
            ("--client-key", file(&own.client_key)),
            ("--tls-server-name", own.tls_server_name.clone()),
            ("--as", own.impersonate.clone()),
            ("--as-uid", own.impersonate_uid.clone()),
            ("--journal", file(&self.flags.journal)),
        ];
        flags.retain(|(_, value)| value.is_some());
        flags.extend(groups.map(|group| ("--as-group", Some(group))));
        flags.extend(extra.map(|extra| ("--as-user-extra", Some(extra))));
        if own.insecure_skip_tls_verify {
            flags.push(("--insecure-skip-tls-verify", None));
        }
        flags
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        flags: Global,
    }

    fn context(args: &[&str]) -> Context {
        let program = Program::parse_from([&["x"], args].concat());
        Context::new(program.flags, Ui::for_test(80, false).0)
    }

    #[test]
    fn a_command_to_type_says_where_and_as_whom_and_no_secret() {
        let cx = context(&[
            "--context=prod eu",
            "--kubeconfig=/k",
            "--to-kubeconfig=/t",
            "--to-context=far",
            "--cluster=c",
            "--user=u",
            "--server=https://a:6443",
            "--as=jane",
            "--as-uid=7",
            "--as-group=a",
            "--as-group=it's",
            "--as-user-extra=scopes=all",
            "--token=hidden",
            "--insecure-skip-tls-verify",
            "--journal=j",
            "-n=shop",
        ]);
        assert_eq!(
            cx.command("run m"),
            "kubectl migrate run m --context 'prod eu' --kubeconfig /k --to-kubeconfig /t --cluster c --user u \
             --server https://a:6443 --as jane --as-uid 7 --journal j --as-group a --as-group 'it'\\''s' \
             --as-user-extra scopes=all --insecure-skip-tls-verify -n shop"
        );
        assert_eq!(
            context(&[]).command_in("shop", "run m"),
            "kubectl migrate run m -n shop"
        );
    }
}
