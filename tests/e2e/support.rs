//! What the tests have in common: the program as a user runs it, kubectl, namespaces, and bounded waits.
use std::{
    io::{BufRead, BufReader, Read},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        atomic::{AtomicU16, AtomicU32, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::scene;

/// Longer than anything here takes on a machine at a tenth of its speed; a test that hangs ends.
pub const BOUND: Duration = Duration::from_mins(15);
/// The same for kubectl.
pub const WITHIN: &str = "--timeout=900s";
/// What starts the clusters, and changes them.
pub const CLUSTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/cluster");
/// How often a condition is looked at that nothing announces.
const LOOK: Duration = Duration::from_millis(200);

/// One of the two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    A,
    B,
}

impl On {
    /// Its kubeconfig.
    pub fn kubeconfig(self) -> Result<String> {
        let name = match self {
            Self::A => "KUBECONFIG_A",
            Self::B => "KUBECONFIG_B",
        };
        std::env::var(name).with_context(|| format!("{name} is not set: run tests/run e2e"))
    }

    /// The letter by which `tests/cluster/cluster` knows it.
    pub fn letter(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// The image of the movers.
pub fn mover_image() -> Result<String> {
    std::env::var("MOVER_IMAGE").context("MOVER_IMAGE is not set: run tests/run e2e")
}

/// Runs a command to its end; its standard output, if it succeeded.
pub fn output_of(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .with_context(|| format!("failed to run {command:?}"))?;
    let said = String::from_utf8_lossy(&stderr);
    ensure!(status.success(), "{command:?}: {status}: {said}");
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Waits until `look` gives something; a test that waits for ever is told what it waited for.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        let looked = Instant::now();
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(
            begun.elapsed() < BOUND,
            "{what} did not come in {BOUND:?}\n{}",
            scene::told()
        );
        // On a busy machine, looking takes what the thing that is waited for needs.
        std::thread::sleep(LOOK.max(looked.elapsed() * 3));
    }
}

/// A port that nobody listens on, and that nobody else is given: the kernel gives connections higher ones, and no
/// other test gets it.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        ensure!(port < 30_000, "no port is left");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
}

/// A namespace of its own, deleted at the end.
pub struct Namespace {
    pub on: On,
    pub name: String,
}

impl Namespace {
    /// A new one, with labels like `key=value`.
    pub fn new(on: On, name: &str, labels: &[&str]) -> Result<Self> {
        // An earlier run's may still be on its way out, and so may another test's.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}{number:03}", std::process::id());
        let this = Self { on, name };
        scene::enter(on, &this.name);
        this.kubectl(&["create", "namespace", &this.name])?;
        if !labels.is_empty() {
            this.kubectl(&[&["label", "namespace", &this.name], labels].concat())?;
        }
        // A pod that comes before its service account is refused.
        wait_for("the default service account", || {
            Ok(this.kubectl(&["get", "serviceaccount", "default"]).ok())
        })?;
        Ok(this)
    }

    /// kubectl in this namespace, not started yet.
    pub fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new("kubectl");
        command.args(["--kubeconfig", &self.on.kubeconfig()?, "-n", &self.name]);
        command.args(args).stdin(Stdio::null());
        Ok(command)
    }

    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        output_of(&mut self.command(args)?)
    }

    pub fn get(&self, what: &str) -> Result<Value> {
        let text = self.kubectl(&["get", what, "-o", "json"])?;
        Ok(serde_json::from_str(&text)?)
    }

    pub fn apply(&self, objects: &[Value]) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("objects.json");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        std::fs::write(&file, list.to_string())?;
        self.kubectl(&["apply", "-f", &file.to_string_lossy()])?;
        Ok(())
    }

    pub fn ready(&self, what: &str) -> Result<()> {
        self.kubectl(&["rollout", "status", what, WITHIN])
            .with_context(scene::told)?;
        Ok(())
    }

    /// The folder of a bound claim's volume: the cluster's node is this machine.
    pub fn folder(&self, claim: &str) -> Result<PathBuf> {
        let volume = wait_for(&format!("the volume of claim {claim}"), || {
            let claim = self.get(&format!("pvc/{claim}"))?;
            Ok(claim["spec"]["volumeName"].as_str().map(str::to_owned))
        })?;
        let spec = &self.get(&format!("pv/{volume}"))?["spec"];
        let path = spec["hostPath"]["path"]
            .as_str()
            .or_else(|| spec["local"]["path"].as_str());
        Ok(path.context("a volume without a path")?.into())
    }

    /// `kubectl migrate` in this namespace.
    pub fn migrate(&self, args: &[&str]) -> Result<Command> {
        let mut command = migrate()?;
        command.env("KUBECONFIG", self.on.kubeconfig()?);
        command.args(args).args(["-n", &self.name]);
        Ok(command)
    }

    /// The report of a migration.
    pub fn report(&self, name: &str) -> Result<Value> {
        let told = end(self.migrate(&["report", name, "-o", "json"])?)?.with_code(0)?;
        Ok(serde_json::from_str(&told.out)?)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        scene::leave(self.on, &self.name);
        self.kubectl(&["delete", "namespace", &self.name, "--wait=false"])
            .ok();
    }
}

/// The program, alone in its environment.
pub fn migrate() -> Result<Command> {
    let binary = std::env::var("MIGRATE_BIN").context("MIGRATE_BIN is not set")?;
    let mut command = Command::new(binary);
    for name in ["KUBECONFIG", "NO_COLOR", "COLUMNS"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    Ok(command)
}

/// A plan in a file, with the tests' mover image. The folder goes when it is dropped.
pub struct PlanFile(tempfile::TempDir);

impl PlanFile {
    pub fn new(namespace: &str, name: &str, mut spec: Value) -> Result<Self> {
        // A tenant's data is in stores, which no pod of ours mounts.
        let mover = &spec["mover"];
        let own = mover["executable"] == "put" || mover["ways"] == json!(["exec"]);
        if spec["playbook"] != "kamaji-datastore" && mover["image"].is_null() && !own {
            spec["mover"]["image"] = json!(mover_image()?);
        }
        let plan = json!({
            "apiVersion": "kubectl-migrate/v1", "kind": "Migration",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec,
        });
        let this = Self(tempfile::tempdir()?);
        std::fs::write(this.0.path().join("plan.yaml"), plan.to_string())?;
        Ok(this)
    }

    pub fn path(&self) -> String {
        self.0
            .path()
            .join("plan.yaml")
            .to_string_lossy()
            .into_owned()
    }
}

/// How the program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; none after a signal.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn with_code(self, code: i32) -> Result<Self> {
        let (out, err) = (&self.out, &self.err);
        ensure!(
            self.code == Some(code),
            "ended with {:?}, not {code}\n{out}\n{err}\n{}",
            self.code,
            scene::told()
        );
        Ok(self)
    }

    /// It said all of this on standard error.
    pub fn says(self, texts: &[&str]) -> Result<Self> {
        for text in texts {
            ensure!(
                self.err.contains(text),
                "`{text}` is not in\n{}\n{}",
                self.err,
                scene::told()
            );
        }
        Ok(self)
    }
}

/// Runs the program to its end.
pub fn end(command: Command) -> Result<Ended> {
    Running::start(command)?.end()
}

/// The program while it runs. It is killed when it is dropped.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    err: String,
    out: Option<JoinHandle<std::io::Result<String>>>,
}

impl Running {
    pub fn start(mut command: Command) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("failed to start the program")?;
        let (sender, lines) = channel();
        let err = child.stderr.take().context("standard error")?;
        std::thread::spawn(move || {
            for line in BufReader::new(err).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut out = child.stdout.take().context("standard output")?;
        let out = std::thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).map(|_| text)
        });
        Ok(Self {
            child,
            lines,
            err: String::new(),
            out: Some(out),
        })
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says this on standard error.
    pub fn until(&mut self, text: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            match self.next(BOUND.saturating_sub(begun.elapsed())) {
                Ok(line) if line.contains(text) => return Ok(()),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "it did not say `{text}` in {BOUND:?}\n{}\n{}",
                        self.err,
                        scene::told()
                    )
                }
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("it ended without `{text}`\n{}\n{}", self.err, scene::told())
                }
            }
        }
    }

    fn next(&mut self, bound: Duration) -> Result<String, RecvTimeoutError> {
        let line = self.lines.recv_timeout(bound)?;
        self.err.push_str(&line);
        self.err.push('\n');
        Ok(line)
    }

    /// Kills it with -9.
    pub fn kill(mut self) -> Result<Ended> {
        self.child.kill()?;
        self.end()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Result<Ended> {
        let begun = Instant::now();
        loop {
            match self.next(BOUND.saturating_sub(begun.elapsed())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    bail!(
                        "it did not end in {BOUND:?}\n{}\n{}",
                        self.err,
                        scene::told()
                    )
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait()?;
        let out = self.out.take().context("standard output")?.join();
        Ok(Ended {
            code: status.code(),
            out: out.map_err(|_| anyhow::anyhow!("the reader ended"))??,
            err: std::mem::take(&mut self.err),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
