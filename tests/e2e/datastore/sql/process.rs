//! A server's process, as a user without rights: these servers refuse to be root.
use std::{
    fs::File,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, getuid, kill_process};
use secrecy::ExposeSecret as _;

use super::super::{super::support::output_of, authority::Authority};

/// The user `nobody`, as Debian numbers it.
const NOBODY: u32 = 65_534;

/// A folder of a server's user.
pub struct Home(tempfile::TempDir);

impl Home {
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        own(folder.path())?;
        Ok(Self(folder))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// A file that only the server reads.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
        let path = self.path(name);
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file.write_all(text.as_bytes())?;
        own(&path)
    }

    /// The files of a server's certificate for a host: `server.crt`, `server.key` and `ca.crt`.
    pub fn certify(&self, authority: &Authority, host: &str) -> Result<()> {
        let identity = authority.certify(host, &[host])?;
        self.write("server.crt", &identity.certificate)?;
        self.write("server.key", identity.key.expose_secret())?;
        self.write("ca.crt", &authority.pem())
    }

    /// A program as the folder's user.
    pub fn command(&self, program: &str) -> Command {
        let mut command = if getuid().is_root() {
            let mut command = Command::new("setpriv");
            let user = NOBODY.to_string();
            command.args([
                "--reuid",
                &user,
                "--regid",
                &user,
                "--clear-groups",
                "--",
                program,
            ]);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// Runs a program to its end.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        output_of(self.command(program).args(args))
    }
}

fn own(path: &Path) -> Result<()> {
    if getuid().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// A running server. It is stopped when it is dropped.
pub struct Process {
    child: Child,
    stop: Signal,
}

impl Process {
    /// Starts it; `stop` is the signal on which it ends soon and well.
    pub fn start(mut command: Command, log: &Path, stop: Signal) -> Result<Self> {
        let log = File::create(log)?;
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        Ok(Self { child, stop })
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Stops it, and waits for its end.
    pub fn stop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
            && matches!(self.child.try_wait(), Ok(None))
        {
            kill_process(pid, self.stop).ok();
        }
        self.child.wait().ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A server that runs until it is dropped.
pub struct Running {
    process: Mutex<Process>,
    pub home: Home,
    pub port: u16,
    /// Who has signed its certificate.
    pub authority: Authority,
}

impl Running {
    pub fn new(process: Process, home: Home, port: u16, authority: Authority) -> Self {
        Self {
            process: Mutex::new(process),
            home,
            port,
            authority,
        }
    }

    /// Ends it.
    pub fn stop(&self) {
        let process = self.process.lock();
        process.unwrap_or_else(PoisonError::into_inner).stop();
    }
}
