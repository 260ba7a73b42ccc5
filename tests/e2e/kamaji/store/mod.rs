//! The stores of tenants: real servers with TLS, in pods, and the DataStore that tells Kamaji of each. What is
//! special of a kind is in its file.
mod copy;
mod etcd;
mod mysql;
mod nats;
mod objects;
mod postgres;

use std::{process::Command, sync::OnceLock};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use super::{
    super::support::{CLUSTER, Namespace, output_of, wait_for},
    place::{Place, SYSTEM, system},
};

/// Where a pod has the authority's and the server's certificates.
const CERTIFICATES: &str = "/certificates";
/// Where a pod has the administrator's certificate.
const CLIENT: &str = "/client";

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Etcd,
    MySql,
    Nats,
    PostgreSql,
}

impl Kind {
    /// The name in a DataStore.
    fn driver(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::MySql => "MySQL",
            Self::Nats => "NATS",
            Self::PostgreSql => "PostgreSQL",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Etcd => 2379,
            Self::MySql => 3306,
            Self::Nats => 4222,
            Self::PostgreSql => 5432,
        }
    }

    /// Two stores that every test may use, made when the first one asks.
    pub fn both(self) -> Result<&'static [Store; 2]> {
        static MADE: [OnceLock<Result<[Store; 2], String>>; 4] = [const { OnceLock::new() }; 4];
        let made = MADE[self as usize].get_or_init(|| {
            self.two(["silver", "gold"])
                .map_err(|error| format!("{error:#}"))
        });
        made.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// Two stores, named after the kind and a metal each.
    pub fn two(self, metals: [&str; 2]) -> Result<[Store; 2]> {
        Place::get()?;
        let [first, second] =
            metals.map(|metal| format!("{}-{metal}", self.driver().to_lowercase()));
        let both = std::thread::scope(|scope| {
            let first = scope.spawn(|| Store::of(self, &first));
            let second = Store::of(self, &second)?;
            let first = first.join().map_err(|_| anyhow!("a thread's end"))??;
            Ok::<_, anyhow::Error>([first, second])
        })?;
        for store in &both {
            wait_for(&format!("datastore {}", store.name), || store.is_ready())?;
        }
        Ok(both)
    }
}

/// A store of one server.
pub struct Store {
    /// Of the DataStore, the StatefulSet and its Service.
    pub name: String,
    kind: Kind,
    system: &'static Namespace,
}

impl Store {
    /// An etcd.
    pub fn new(name: &str) -> Result<Self> {
        Self::of(Kind::Etcd, name)
    }

    /// Makes it, unless it is there since an earlier run; when this is dropped it stays.
    fn of(kind: Kind, name: &str) -> Result<Self> {
        let this = Self {
            name: name.to_owned(),
            kind,
            system: system(),
        };
        let both = [format!("datastore/{name}"), format!("statefulset/{name}")];
        if this.system.kubectl(&["get", &both[0], &both[1]]).is_err() {
            this.system.apply(&this.secrets()?)?;
            this.system.apply(&[this.service(), this.server()?])?;
            this.system.ready(&format!("statefulset/{name}"))?;
            if kind == Kind::Etcd {
                this.enable_authentication()?;
            }
            this.system.apply(&[this.object()])?;
        }
        Ok(this)
    }

    /// Its DataStore.
    pub fn datastore(&self) -> Result<Value> {
        self.system.get(&format!("datastore/{}", self.name))
    }

    pub fn is_ready(&self) -> Result<Option<()>> {
        Ok((self.datastore()?["status"]["ready"] == true).then_some(()))
    }

    /// Where its server is reached in the cluster.
    pub fn endpoint(&self) -> String {
        format!("{}:{}", self.host(), self.kind.port())
    }

    fn host(&self) -> String {
        format!("{0}-0.{0}.{SYSTEM}.svc.cluster.local", self.name)
    }

    /// Runs a program beside its server.
    fn exec(&self, command: &[&str]) -> Result<String> {
        let pod = format!("{}-0", self.name);
        self.system
            .kubectl(&[&["exec", &pod, "--"], command].concat())
    }

    /// The Secret with the authority's and the server's certificates.
    pub fn secret(&self) -> String {
        format!("{}-certs", self.name)
    }

    /// The Secret with root's certificate.
    pub fn client_secret(&self) -> String {
        format!("{}-root-client-certs", self.name)
    }

    /// The Secret with root's password.
    fn login_secret(&self) -> String {
        format!("{}-login", self.name)
    }
}

/// The image of a database server, made on this machine when it is first asked for.
fn image(server: &str) -> Result<String> {
    let said = output_of(Command::new(CLUSTER).args(["database", server]))?;
    Ok(said.lines().last().context("no image")?.to_owned())
}
