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
        let own = &self.flags.connection;
        let file = |path: &PathBuf| path.display().to_string();
        let mut line = format!("{} {words}", self.ui.program());
        for (flag, value) in [
            ("--context", own.context.clone()),
            ("--kubeconfig", own.kubeconfig.as_ref().map(file)),
            ("--journal", self.flags.journal.as_ref().map(file)),
        ] {
            if let Some(value) = value {
                line = format!("{line} {flag} {value}");
            }
        }
        line
    }
}
