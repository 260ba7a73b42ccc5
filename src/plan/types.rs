use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Quantity, Rate, Span, WorkloadCheck};

/// `apiVersion` of a plan file.
pub const API_VERSION: &str = "kubectl-migrate/v1";
/// `kind` of a plan file.
pub const KIND: &str = "Migration";

/// What the user wants, as the plan file says it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// Name and namespace of the migration.
    pub metadata: Metadata,
    /// What is to be moved, and how.
    pub spec: Spec,
}

/// Name and namespace of a migration.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// The migration's name; its objects are named after it.
    pub name: String,
    /// Where the source lives and the journal is kept; the context's namespace when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// What is to be moved, and how.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Which list of steps.
    pub playbook: Playbook,
    /// From where.
    pub source: Source,
    /// To where; what is left out is as at the source.
    #[serde(default, skip_serializing_if = "is_default")]
    pub target: Target,
    /// Who copies a tenant's data.
    #[serde(default, skip_serializing_if = "is_default")]
    pub way: TenantWay,
    /// How writes are stopped.
    #[serde(default, skip_serializing_if = "is_default")]
    pub freeze: Freeze,
    /// How the copy is proved.
    #[serde(default, skip_serializing_if = "is_default")]
    pub verify: Verify,
    /// What becomes of the objects that the pods refer to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub objects: Objects,
    /// When warm copying ends.
    #[serde(default, skip_serializing_if = "is_default")]
    pub warm: Warm,
    /// The pods that carry the data.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mover: Mover,
    /// What has to be true of the workload, by commands in its pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<WorkloadCheck>,
    /// What a workload may reach that is started to try a snapshot.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Network,
    /// How long a workload that is brought back may take to be ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_within: Option<Span>,
}

impl Spec {
    /// A plan with nothing but what must be there.
    #[must_use]
    pub fn new(playbook: Playbook, source: Source) -> Self {
        Self {
            playbook,
            source,
            target: Target::default(),
            way: TenantWay::default(),
            freeze: Freeze::default(),
            verify: Verify::default(),
            objects: Objects::default(),
            warm: Warm::default(),
            mover: Mover::default(),
            checks: Vec::new(),
            network: Network::default(),
            ready_within: None,
        }
    }
}

/// Which list of steps a plan becomes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Playbook {
    /// A StatefulSet with its volumes to another namespace, name, storage class, size or cluster.
    #[serde(rename = "statefulset")]
    StatefulSet,
    /// One volume to another.
    Copy,
    /// Stop the writes of a workload.
    Freeze,
    /// A Kamaji tenant's control plane to another DataStore.
    KamajiDatastore,
    /// A workload's volumes, or a single one, into a bucket.
    Snapshot,
    /// The volumes of such a snapshot and its workload, out of the bucket.
    Restore,
    /// The same, for the time that it takes to look whether it works.
    RestoreCheck,
}

impl Playbook {
    /// The name in the plan file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StatefulSet => "statefulset",
            Self::Copy => "copy",
            Self::Freeze => "freeze",
            Self::KamajiDatastore => "kamaji-datastore",
            Self::Snapshot => "snapshot",
            Self::Restore => "restore",
            Self::RestoreCheck => "restore-check",
        }
    }
}

/// From where: exactly one of its fields.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// A StatefulSet's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statefulset: Option<String>,
    /// A Deployment's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<String>,
    /// A PersistentVolumeClaim's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc: Option<String>,
    /// A Kamaji TenantControlPlane's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_control_plane: Option<String>,
    /// A snapshot of a bucket, as NAME/TIME.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Box<BucketPlace>>,
}

/// A place in a bucket, and how its server is found. Credentials are not here: they come from the Secret that is named,
/// or from whoever runs it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BucketPlace {
    /// `s3://BUCKET/PREFIX`.
    pub address: String,
    /// URL of the S3 server; AWS's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The bucket's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The certificates of the authorities that the server's may be of, as PEM; the system's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// A Secret of the migration's namespace with the credentials; those of whoever runs it when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// To where.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// A kubeconfig context; the source's cluster when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The namespace, which must exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The StatefulSet's name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statefulset: Option<String>,
    /// The PersistentVolumeClaim's name there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pvc: Option<String>,
    /// A Kamaji DataStore's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_store: Option<String>,
    /// Where a snapshot goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Box<BucketPlace>>,
    /// Leave a snapshot's workload out, and bring its volumes alone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub volumes_only: bool,
    /// The storage class of all its volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// The size of all its volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// Class and size of single volumes, by the name of their claim template.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Claims>,
}

impl Target {
    /// Class and size that the volumes of a claim template are to have; none of what stays as it is.
    #[must_use]
    pub fn of(&self, template: &str) -> Claims {
        let own = self.volumes.get(template);
        Claims {
            storage_class: own
                .and_then(|own| own.storage_class.clone())
                .or_else(|| self.storage_class.clone()),
            size: own
                .and_then(|own| own.size.clone())
                .or_else(|| self.size.clone()),
        }
    }

    /// Whether it names a class or a size.
    #[must_use]
    pub fn changes_volumes(&self) -> bool {
        self.storage_class.is_some() || self.size.is_some() || !self.volumes.is_empty()
    }
}

/// Class and size of the volumes of one claim template.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Claims {
    /// The storage class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
    /// The size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
}

/// How writes are stopped.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Freeze {
    /// By removing the pods, or by keeping them asleep.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: FreezeMode,
    /// How the writes of a tenant's control plane are stopped.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tenant: TenantFreeze,
    /// How long writes may stop; a cut-over that would not fit is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Span>,
    /// Do not stop writes: a snapshot then names the files that changed while they were read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub live: bool,
}

/// How a workload is frozen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FreezeMode {
    /// Scale to 0 pods
    #[default]
    Scale,
    /// Keep the pods with their volumes, but run a sleeper in them
    Sleep,
}

impl fmt::Display for FreezeMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Scale => "scale",
            Self::Sleep => "sleep",
        })
    }
}

/// How a tenant's control plane is frozen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TenantFreeze {
    /// Let its API server refuse every write (Kubernetes 1.30 and later)
    #[default]
    ReadOnly,
    /// Stop its API server
    Offline,
}

impl fmt::Display for TenantFreeze {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ReadOnly => "read-only",
            Self::Offline => "offline",
        })
    }
}

/// Who copies a tenant's data from one DataStore to another.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TenantWay {
    /// This program, while the tenant works; it is frozen for the last changes only
    #[default]
    Direct,
    /// Kamaji's own Job, while the tenant is frozen; what it leaves out is found and copied
    Controller,
}

impl fmt::Display for TenantWay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Direct => "direct",
            Self::Controller => "controller",
        })
    }
}

/// How the copy is proved.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// Both sides are read back while writes are stopped, and compared by digest.
    #[default]
    Content,
    /// The same, but while the workload runs. While writes are stopped only those files are read again that changed since,
    /// as their file system tells.
    Warm,
}

/// What becomes of the ConfigMaps, Secrets, service account and Services that the pods refer to.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Objects {
    /// They must be at the target already.
    #[default]
    Require,
    /// What is missing at the target is copied.
    Copy,
}

/// What a workload may reach that is started to try a snapshot.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Nothing, which is proved before it starts.
    #[default]
    Closed,
    /// Whatever the cluster lets it reach.
    Open,
}

/// When warm copying ends.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Warm {
    /// At most so many rounds; 0 copies only while frozen.
    #[serde(default = "default_rounds")]
    pub rounds: u32,
}

/// A warm round that moves less than a hundredth ends it earlier; five rounds at most are worth while.
fn default_rounds() -> u32 {
    5
}

impl Default for Warm {
    fn default() -> Self {
        Self {
            rounds: default_rounds(),
        }
    }
}

/// The pods that carry the data.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mover {
    /// Their image; a default named after this program's version when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Where their executable comes from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub executable: MoverExecutable,
    /// Secret with the image's pull credentials, in the pods' namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<String>,
    /// The user they run as.
    #[serde(default, skip_serializing_if = "is_default")]
    pub run_as: RunAs,
    /// Bytes that all of them together send a second at most; the verb `limit` changes it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Rate>,
    /// How long one may take to run: more where the cluster first adds a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_within: Option<Span>,
    /// The ways that bytes may go between two of them; every one that can be when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<MoverWay>,
    /// The bucket that they may go through, for as long as that takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Box<BucketPlace>>,
}

impl Mover {
    /// The ways that may be taken, in the order in which they are tried.
    #[must_use]
    pub fn ways(&self) -> Vec<MoverWay> {
        let all = [
            MoverWay::Direct,
            MoverWay::Client,
            MoverWay::Bucket,
            MoverWay::Exec,
        ];
        let may = |way: &MoverWay| match way {
            _ if !self.ways.is_empty() => self.ways.contains(way),
            MoverWay::Bucket => self.bucket.is_some(),
            MoverWay::Direct | MoverWay::Client => true,
            MoverWay::Exec => false,
        };
        all.into_iter().filter(may).collect()
    }
}

/// A way that the bytes of a volume may go from one mover to the other.
#[derive(
    Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum MoverWay {
    /// Straight, by the pods' addresses
    Direct,
    /// Through this machine, by port-forwards to both
    Client,
    /// Through a bucket that both reach
    Bucket,
    /// By commands in pods, where no mover can run: only alone
    Exec,
}

impl fmt::Display for MoverWay {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Direct => "direct",
            Self::Client => "client",
            Self::Bucket => "bucket",
            Self::Exec => "exec",
        })
    }
}

/// Where the executable of a mover comes from.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum MoverExecutable {
    /// Its image holds it.
    #[default]
    Image,
    /// The client puts it into the pod, whose image the nodes have already: no registry is needed.
    Put,
}

/// The user that movers run as.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(into = "String", try_from = "String")]
pub enum RunAs {
    /// Root with the few capabilities that keeping owners and modes needs, where the namespace's Pod
    /// Security allows it; else the workload's own user.
    #[default]
    Auto,
    /// Root with these capabilities.
    Root,
    /// The user and group that the workload's pods run as.
    Workload,
    /// This user and group.
    User(u32, u32),
}

impl From<RunAs> for String {
    fn from(run_as: RunAs) -> Self {
        match run_as {
            RunAs::Auto => "auto".to_owned(),
            RunAs::Root => "root".to_owned(),
            RunAs::Workload => "workload".to_owned(),
            RunAs::User(user, group) => format!("{user}:{group}"),
        }
    }
}

impl TryFrom<String> for RunAs {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for RunAs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(Self::Auto),
            "root" => return Ok(Self::Root),
            "workload" => return Ok(Self::Workload),
            _ => {}
        }
        text.split_once(':')
            .and_then(|(user, group)| Some(Self::User(user.parse().ok()?, group.parse().ok()?)))
            .ok_or_else(|| format!("`{text}` is none of `auto`, `root`, `workload`, `UID:GID`"))
    }
}

/// A workload whose writes can be stopped.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Workload {
    /// `statefulset/NAME`.
    StatefulSet(String),
    /// `deployment/NAME`.
    Deployment(String),
}

impl Workload {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::StatefulSet(name) | Self::Deployment(name) => name,
        }
    }

    /// Its kind as kubectl writes it: `statefulset`, `deployment`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::StatefulSet(_) => "statefulset",
            Self::Deployment(_) => "deployment",
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind(), self.name())
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = text
            .split_once('/')
            .ok_or_else(|| format!("`{text}` is not KIND/NAME, like statefulset/orders-db"))?;
        match kind {
            "statefulset" | "statefulsets" | "sts" => Ok(Self::StatefulSet(name.to_owned())),
            "deployment" | "deployments" | "deploy" => Ok(Self::Deployment(name.to_owned())),
            _ => Err(format!("`{kind}` is none of statefulset, deployment")),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
