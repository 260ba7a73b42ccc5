//! A second S3 server, moto, of other hands than versitygw: it keeps everything in memory, and has no users.
use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{
    s3::host_for_pods,
    support::{On, output_of, wait_for},
};

/// The bucket that it has.
pub const BUCKET: &str = "backups";

/// A server, until it is dropped.
pub struct Moto {
    child: Child,
    host: String,
    port: u16,
    log: tempfile::NamedTempFile,
}

impl Moto {
    /// One with an empty bucket.
    pub fn new() -> Result<Self> {
        Self::start("127.0.0.1")
    }

    /// One that this machine and the cluster's pods reach.
    pub fn for_pods(on: On) -> Result<Self> {
        Self::start(&host_for_pods(on)?)
    }

    fn start(host: &str) -> Result<Self> {
        let log = tempfile::NamedTempFile::new()?;
        // Nobody else takes a port in the moment between.
        let port = TcpListener::bind((host, 0))?.local_addr()?.port();
        let child = Command::new("moto_server")
            .args(["-H", host, "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.reopen()?)
            .stderr(log.reopen()?)
            .spawn()
            .context("moto_server, which `tests/cluster/cluster install` installs")?;
        let mut this = Self {
            child,
            host: host.to_owned(),
            port,
            log,
        };
        wait_for("moto", || {
            if let Some(ended) = this.child.try_wait()? {
                bail!("it ended with {ended}: {}", this.told());
            }
            Ok(TcpStream::connect((host, port)).ok())
        })?;
        let bucket = format!("{}/{BUCKET}", this.endpoint());
        output_of(Command::new("curl").args(["-sS", "--fail", "-X", "PUT", &bucket]))?;
        Ok(this)
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// What it wrote down, such as each request that it had.
    pub fn told(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap_or_default()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
