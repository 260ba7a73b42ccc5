//! A real S3 server, versitygw: folders for buckets, with users, policies and certificates.
use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{
    datastore::authority::Authority,
    support::{On, migrate, output_of, wait_for},
};

/// Who may do everything.
pub const ROOT: [&str; 2] = ["root", "root-secret"];
/// Who may read and list, and nothing else.
pub const READER: [&str; 2] = ["reader", "reader-secret"];
/// Whose credentials are taken back in the middle of something,
pub const OLD: [&str; 2] = ["old", "old-secret"];
/// and by whose they are replaced. Both may do everything.
pub const NEW: [&str; 2] = ["new", "new-secret"];
/// The region that it says it is in.
pub const REGION: &str = "us-east-1";
/// The bucket that it has.
pub const BUCKET: &str = "backups";

/// A server, until it is dropped.
pub struct Server {
    child: Child,
    folder: tempfile::TempDir,
    /// What it keeps all on; none where that is this machine's disk.
    disk: Option<Disk>,
    /// The way of other pods to it.
    route: Option<Route>,
    port: u16,
    /// The address that it listens on.
    host: String,
    /// The authority of its certificate, if it has one.
    authority: Option<String>,
}

impl Server {
    /// One that is spoken to without TLS.
    pub fn plain() -> Result<Self> {
        Self::start(false, "127.0.0.1")
    }

    /// One with a certificate of its own authority.
    pub fn with_tls() -> Result<Self> {
        Self::start(true, "127.0.0.1")
    }

    /// One with a certificate that this machine and the cluster's pods reach.
    pub fn for_pods(on: On) -> Result<Self> {
        Self::start(true, &host_for_pods(on)?)
    }

    /// The same on a disk that is full at this size, such as `40m`.
    pub fn with_room(on: On, size: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let disk = Disk::new(folder.path().join("data"), size)?;
        let mut this = Self::start_in(folder, true, &host_for_pods(on)?)?;
        this.disk = Some(disk);
        Ok(this)
    }

    /// Makes that disk larger, also while it is used.
    pub fn make_room(&self, size: &str) -> Result<()> {
        self.disk.as_ref().context("a disk")?.resize(size)
    }

    /// The same that the pods of cluster b reach as well, for as long as it is there: by an address of the machine that
    /// is another cluster's gateway.
    pub fn for_pods_of_both() -> Result<Self> {
        let mut this = Self::for_pods(On::A)?;
        this.route = Some(Route::new(On::B, addresses(On::A)?[1])?);
        Ok(this)
    }

    fn start(tls: bool, host: &str) -> Result<Self> {
        Self::start_in(tempfile::tempdir()?, tls, host)
    }

    fn start_in(folder: tempfile::TempDir, tls: bool, host: &str) -> Result<Self> {
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("data").join(BUCKET))?;
        std::fs::create_dir(at("users"))?;
        let_in(
            &at("users"),
            &[(READER, "user"), (OLD, "admin"), (NEW, "admin")],
        )?;
        let authority = if tls {
            Some(certificates(folder.path(), host)?)
        } else {
            None
        };
        // Nobody else takes a port in the moment between.
        let port = TcpListener::bind((host, 0))?.local_addr()?.port();
        let child = spawn(folder.path(), tls, &format!("{host}:{port}"))?;
        let mut this = Self {
            child,
            folder,
            disk: None,
            route: None,
            port,
            host: host.to_owned(),
            authority,
        };
        this.wait()?;
        this.let_reader_read()?;
        Ok(this)
    }

    fn wait(&mut self) -> Result<()> {
        let address = format!("{}:{}", self.host, self.port);
        wait_for("the S3 server", || {
            if let Some(ended) = self.child.try_wait()? {
                let log = std::fs::read_to_string(self.folder.path().join("log"))?;
                anyhow::bail!("it ended with {ended}: {log}");
            }
            Ok(TcpStream::connect(&address).ok())
        })?;
        Ok(())
    }

    /// Ends it as a machine that loses its power does; what it has on its disk stays.
    pub fn lose(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again where it was.
    pub fn find_again(&mut self) -> Result<()> {
        let address = format!("{}:{}", self.host, self.port);
        self.child = spawn(self.folder.path(), self.authority.is_some(), &address)?;
        self.wait()
    }

    /// Its policy stands in an attribute of the bucket's folder.
    fn let_reader_read(&self) -> Result<()> {
        let bucket = format!("arn:aws:s3:::{BUCKET}");
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"AWS": [READER[0]]},
            "Action": ["s3:GetObject", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            "Resource": [bucket, format!("{bucket}/*")],
        }]});
        let mut setfattr = Command::new("setfattr");
        setfattr.args(["-n", "user.policy", "-v", &policy.to_string()]);
        output_of(setfattr.arg(self.data()))?;
        Ok(())
    }

    /// The folder that is the bucket.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data").join(BUCKET)
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        let scheme = if self.authority.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}:{}", self.host, self.port)
    }

    /// The file with the authority of its certificate.
    pub fn authority_file(&self) -> String {
        self.folder.path().join("ca.crt").display().to_string()
    }

    /// A command of ours that uses it as this user, by the environment alone.
    pub fn as_user(&self, mut command: Command, [access, secret]: [&str; 2]) -> Command {
        command
            .env("HOME", self.folder.path())
            .env("AWS_ACCESS_KEY_ID", access)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_ENDPOINT_URL", self.endpoint())
            .env_remove("AWS_CA_BUNDLE");
        command
    }

    /// The program without a cluster, as this user, who trusts it.
    pub fn migrate(&self, user: [&str; 2], args: &[&str]) -> Result<Command> {
        let mut command = self.as_user(migrate()?, user);
        if self.authority.is_some() {
            command.env("AWS_CA_BUNDLE", self.authority_file());
        }
        command.args(args);
        Ok(command)
    }

    /// Takes back the key of [`OLD`].
    pub fn refuse_old(&self) -> Result<()> {
        let users = self.folder.path().join("users");
        let_in(&users, &[(READER, "user"), (NEW, "admin")])
    }

    /// What a Secret holds that is enough to use it.
    pub fn secret(&self, name: &str) -> Value {
        self.secret_of(name, ROOT)
    }

    /// The same as this user.
    pub fn secret_of(&self, name: &str, [access, secret]: [&str; 2]) -> Value {
        let mut data = json!({
            "AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": REGION, "AWS_ENDPOINT_URL": self.endpoint(),
        });
        if let Some(authority) = &self.authority {
            data["ca.crt"] = json!(authority);
        }
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
    }

    /// All that is in the bucket, unfinished uploads too, by its path in it.
    pub fn objects(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut folders = vec![self.data()];
        while let Some(folder) = folders.pop() {
            let entries = match std::fs::read_dir(&folder) {
                // The server takes folders away in which nothing is left.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                entries => entries?,
            };
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.data())?;
                    found.push(name.display().to_string());
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// The file that is the first object whose name ends so.
    pub fn object(&self, end: &str) -> Result<PathBuf> {
        let all = self.objects()?;
        let name = all.iter().find(|name| name.ends_with(end));
        let name = name.with_context(|| format!("no {end} in {all:?}"))?;
        Ok(self.data().join(name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        // Before the folder that it is in.
        self.disk.take();
    }
}

/// A disk in memory, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(at: PathBuf, size: &str) -> Result<Self> {
        std::fs::create_dir(&at)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]);
        output_of(mount.arg(&at))?;
        Ok(Self(at))
    }

    fn resize(&self, size: &str) -> Result<()> {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={size}")]);
        output_of(mount.arg(&self.0))?;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        output_of(Command::new("umount").arg("-l").arg(&self.0)).ok();
    }
}

/// Starts the program on what is in a folder.
fn spawn(folder: &Path, tls: bool, address: &str) -> Result<Child> {
    let at = |name: &str| folder.join(name);
    let mut command = Command::new("versitygw");
    command.args(["--quiet", "--region", REGION, "--port", address]);
    // Whose key is taken back is refused from the next request on.
    command.arg("--iam-cache-disable");
    command.arg("--iam-dir").arg(at("users"));
    if tls {
        command
            .arg("--cert")
            .arg(at("server.crt"))
            .arg("--key")
            .arg(at("server.key"));
    }
    command.arg("posix").arg(at("data"));
    let log = std::fs::File::create(at("log"))?;
    command
        .env("ROOT_ACCESS_KEY", ROOT[0])
        .env("ROOT_SECRET_KEY", ROOT[1])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    command
        .spawn()
        .context("versitygw, which `tests/cluster/cluster install` builds")
}

/// The address of this machine that a cluster's pods reach.
pub fn host_for_pods(on: On) -> Result<String> {
    Ok(addresses(on)?[1].to_string())
}

/// The address of a cluster's node, and that of this machine as its pods reach it, which is the one before.
fn addresses(on: On) -> Result<[Ipv4Addr; 2]> {
    let config = std::fs::read_to_string(on.kubeconfig()?)?;
    let config: Value = serde_yaml::from_str(&config)?;
    let server = config["clusters"][0]["cluster"]["server"]
        .as_str()
        .context("a server")?;
    let node: Ipv4Addr = server
        .trim_start_matches("https://")
        .split(':')
        .next()
        .context("a host")?
        .parse()?;
    Ok([node, Ipv4Addr::from_bits(node.to_bits() - 1)])
}

/// A way for a cluster's pods to one more address of this machine, until it is dropped.
struct Route {
    on: On,
    to: String,
}

/// How many tests use the way at once.
static ROUTES: Mutex<u32> = Mutex::new(0);

impl Route {
    fn new(on: On, to: Ipv4Addr) -> Result<Self> {
        let mut used = ROUTES.lock().unwrap_or_else(PoisonError::into_inner);
        let (to, via) = (to.to_string(), addresses(on)?[1].to_string());
        Self::ip(on, &["replace", &to, "via", &via])?;
        *used += 1;
        Ok(Self { on, to })
    }

    fn ip(on: On, args: &[&str]) -> Result<()> {
        let inside = format!("kmig-{}", on.letter());
        let mut ip = Command::new("ip");
        ip.args(["-n", &inside, "route"]).args(args);
        output_of(&mut ip)?;
        Ok(())
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        let mut used = ROUTES.lock().unwrap_or_else(PoisonError::into_inner);
        *used -= 1;
        if *used == 0 {
            Self::ip(self.on, &["del", &self.to]).ok();
        }
    }
}

/// Writes down who may log in, each with what he may do. It is a file of its own until it is whole.
fn let_in(users: &Path, all: &[([&str; 2], &str)]) -> Result<()> {
    let accounts = all.iter().map(|([access, secret], role)| {
        let account = json!({"access": access, "secret": secret, "role": role, "userID": 0, "groupID": 0, "projectID": 0});
        ((*access).to_owned(), account)
    });
    let accounts: serde_json::Map<_, _> = accounts.collect();
    let draft = users.join("draft");
    std::fs::write(&draft, json!({"accessAccounts": accounts}).to_string())?;
    std::fs::rename(draft, users.join("users.json"))?;
    Ok(())
}

/// Makes an authority and a certificate of it for this machine; the authority's, in PEM.
fn certificates(folder: &Path, host: &str) -> Result<String> {
    let authority = Authority::new()?;
    let server = authority.certify("versitygw", &[host])?;
    std::fs::write(folder.join("server.crt"), &server.certificate)?;
    std::fs::write(folder.join("server.key"), server.key.expose_secret())?;
    std::fs::write(folder.join("ca.crt"), authority.pem())?;
    Ok(authority.pem())
}
