//! The program in a closed world: a folder of its own, a cleared environment, no cluster.
#![expect(
    clippy::format_push_string,
    reason = "a test reads best in the order of what is printed"
)]
use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context as _, Result};

/// A folder in which the program runs.
pub struct World {
    folder: tempfile::TempDir,
}

impl World {
    /// An empty folder. `KUBECONFIG` names a file that is not there.
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self { folder })
    }

    /// The same with a kubeconfig of this server.
    pub fn with_server(url: &str) -> Result<Self> {
        let world = Self::new()?;
        let kubeconfig = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, users: [{{name: u, user: {{}}}}], \
             clusters: [{{name: k, cluster: {{server: \"{url}\"}}}}], \
             contexts: [{{name: c, context: {{cluster: k, user: u, namespace: shop}}}}]}}"
        );
        world.write("kubeconfig", &kubeconfig)?;
        Ok(world)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes a file in the folder.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.path().join(name), text).with_context(|| name.to_owned())
    }

    /// What the program does when it is called by this name with these arguments.
    pub fn call(&self, name: &str, args: &[&str]) -> Result<Output> {
        Command::new(env!("CARGO_BIN_EXE_kubectl-migrate"))
            .arg0(name)
            .args(args)
            .env_clear()
            .env("KUBECONFIG", "kubeconfig")
            .env("HOME", self.path())
            .env("COLUMNS", "100")
            .current_dir(self.path())
            .output()
            .context("the program")
    }

    /// The command line, the exit code and everything that was printed, as a snapshot shows it.
    pub fn told(&self, name: &str, args: &[&str]) -> Result<String> {
        let output = self.call(name, args)?;
        let code = output.status.code().context("it was killed")?;
        let mut text = format!("$ {name}");
        for arg in args {
            let quoted = arg.is_empty() || arg.contains(' ');
            text += &if quoted {
                format!(" '{arg}'")
            } else {
                format!(" {arg}")
            };
        }
        text += &format!("\nexit {code}\n");
        for (stream, bytes) in [("stdout", output.stdout), ("stderr", output.stderr)] {
            if !bytes.is_empty() {
                text += &format!("--- {stream}\n{}", String::from_utf8(bytes)?);
            }
        }
        Ok(text)
    }
}

/// The name under which kubectl finds the program.
pub const NAME: &str = "kubectl-migrate";
