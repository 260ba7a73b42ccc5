//! A real nats-server on this machine, with TLS, users and files.
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use async_nats::{Client, ConnectOptions, HeaderMap};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use kubectl_migrate::adapters::datastore::{BasicAuth, Connection, Driver, Endpoint};
use rustix::process::Signal;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{
    super::{authority::Authority, free_ports, sql::Process},
    SCHEMA,
};
use crate::support::BOUND;

/// The host that its certificate is for.
pub const HOST: &str = "nats.stores.svc";
/// The user that the DataStore names, and one that may only look.
pub const USER: &str = "kine";
pub const LOOKER: &str = "looker";
pub const PASSWORD: &str = "of-the-test";

/// The server, killed at the end.
pub struct Server {
    name: String,
    process: Mutex<Process>,
    port: u16,
    pub authority: Authority,
    folder: tempfile::TempDir,
}

/// A message as the server keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub sequence: u64,
    pub subject: String,
    pub operation: Option<String>,
    pub value: Vec<u8>,
    pub time: String,
}

impl Server {
    pub async fn start(name: &str) -> Result<Self> {
        Self::with(name, "jetstream { store_dir: STORE }").await
    }

    /// With another part about JetStream, and whatever else.
    pub async fn with(name: &str, settings: &str) -> Result<Self> {
        let authority = Authority::new()?;
        let folder = tempfile::tempdir()?;
        let own = authority.certify("server", &[HOST, "127.0.0.1"])?;
        fs::write(folder.path().join("server.crt"), &own.certificate)?;
        fs::write(folder.path().join("server.key"), own.key.expose_secret())?;
        fs::write(folder.path().join("ca.crt"), authority.pem())?;
        let [port] = free_ports()?;
        let place = folder.path().to_string_lossy();
        let store = format!("\"{place}/store\"");
        let settings = settings.replace("STORE", &store);
        let may_look = "$JS.API.INFO, $JS.API.STREAM.INFO.>".replace(", ", "\", \"");
        let configuration = format!(
            "listen: \"127.0.0.1:{port}\"\n\
            client_advertise: \"10.255.255.1:4222\"\n\
            server_name: \"{name}\"\n\
            tls {{ cert_file: \"{place}/server.crt\", key_file: \"{place}/server.key\", timeout: 60 }}\n\
            write_deadline: \"120s\"\n\
            authorization {{ timeout: 60, users: [\n\
                {{user: {USER}, password: \"{PASSWORD}\"}},\n\
                {{user: {LOOKER}, password: \"{PASSWORD}\", permissions: {{\
                    publish: [\"{may_look}\"], subscribe: [\"_INBOX.>\"]}}}}\n\
            ] }}\n{settings}\n"
        );
        fs::write(folder.path().join("server.conf"), configuration)?;
        let server = Self {
            name: name.to_owned(),
            process: Mutex::new(run(&folder)?),
            port,
            authority,
            folder,
        };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&self) -> Result<()> {
        let ready = async {
            while self.client().await.is_err() {
                let ended = self.process().has_ended()?;
                let log = || fs::read_to_string(self.folder.path().join("log"));
                ensure!(!ended, "nats-server ended: {}", log()?);
            }
            Ok(())
        };
        tokio::time::timeout(BOUND, ready)
            .await
            .context("nats-server did not come")?
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills it.
    pub fn stop(&self) {
        self.process().stop();
    }

    /// Starts it again, with what it kept.
    pub async fn again(&self) -> Result<()> {
        *self.process() = run(&self.folder)?;
        self.ready().await
    }

    /// How Kamaji's DataStore would name it.
    pub fn connection(&self) -> Connection {
        Connection {
            name: format!("datastore {}", self.name),
            driver: Driver::Nats,
            endpoints: vec![Endpoint {
                dial: SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)),
                host: HOST.to_owned(),
                shown: format!("{HOST}:4222"),
            }],
            authority: Some(self.authority.pem()),
            identity: None,
            basic: Some(BasicAuth {
                user: USER.to_owned(),
                password: PASSWORD.into(),
            }),
        }
    }

    /// What kine is told of it.
    pub fn arguments(&self, schema: &str) -> [String; 2] {
        let port = self.port;
        [
            format!("--endpoint=nats://{USER}:{PASSWORD}@127.0.0.1:{port}?bucket={schema}&noEmbed"),
            format!("--ca-file={}", self.folder.path().join("ca.crt").display()),
        ]
    }

    /// A connection without the ways that are tested.
    pub async fn client(&self) -> Result<Client> {
        let options = ConnectOptions::new()
            .user_and_password(USER.to_owned(), PASSWORD.to_owned())
            .require_tls(true)
            .connection_timeout(BOUND)
            .request_timeout(Some(BOUND))
            .ignore_discovered_servers()
            .add_root_certificates(self.folder.path().join("ca.crt"));
        let connect = options.connect(format!("127.0.0.1:{}", self.port));
        Ok(Box::pin(connect).await?)
    }

    /// Asks JetStream.
    pub async fn ask(&self, question: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let client = self.client().await?;
        let subject = format!("$JS.API.{question}");
        let answer = client.request(subject, body.into()).await?;
        let answer: Value = serde_json::from_slice(&answer.payload)?;
        ensure!(answer["error"].is_null(), "{question}: {answer}");
        Ok(answer)
    }

    /// Makes the bucket as kine does, or Kamaji, whose history is 1.
    pub async fn make(&self, history: u32) -> Result<()> {
        self.make_with(&json!({"max_msgs_per_subject": history}))
            .await
    }

    /// Makes the bucket with other settings.
    pub async fn make_with(&self, other: &Value) -> Result<()> {
        let mut config = json!({
            "name": format!("KV_{SCHEMA}"), "subjects": [format!("$KV.{SCHEMA}.>")],
            "description": "Holds kine key/values", "retention": "limits", "storage": "file",
            "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_msg_size": -1,
            "max_msgs_per_subject": 10, "discard": "new", "num_replicas": 1, "deny_delete": true,
            "allow_rollup_hdrs": true, "allow_direct": true, "duplicate_window": 120_000_000_000_u64,
        });
        for (name, value) in other.as_object().context("no settings")? {
            config[name] = value.clone();
        }
        self.ask(&format!("STREAM.CREATE.KV_{SCHEMA}"), &config)
            .await?;
        Ok(())
    }

    /// What the server says of the bucket.
    pub async fn bucket(&self) -> Result<Value> {
        self.ask(&format!("STREAM.INFO.KV_{SCHEMA}"), &Value::Null)
            .await
    }

    /// The first and the last sequence, and how many messages.
    pub async fn state(&self) -> Result<[u64; 3]> {
        let state = &self.bucket().await?["state"];
        let figure = |name: &str| state[name].as_u64().context("no figure");
        Ok([
            figure("first_seq")?,
            figure("last_seq")?,
            figure("messages")?,
        ])
    }

    /// All messages that are there.
    pub async fn messages(&self) -> Result<Vec<Kept>> {
        let client = self.client().await?;
        let subject = format!("$JS.API.STREAM.MSG.GET.KV_{SCHEMA}");
        let mut kept: Vec<Kept> = Vec::new();
        loop {
            let next = kept.last().map_or(1, |last| last.sequence + 1);
            let body = json!({"seq": next, "next_by_subj": ">"}).to_string();
            let answer = client.request(subject.clone(), body.into()).await?;
            let answer: Value = serde_json::from_slice(&answer.payload)?;
            if answer["error"]["code"] == 404 {
                return Ok(kept);
            }
            let message = &answer["message"];
            let text = |name: &str| message[name].as_str().unwrap_or_default();
            let headers = String::from_utf8(BASE64_STANDARD.decode(text("hdrs"))?)?;
            kept.push(Kept {
                sequence: message["seq"]
                    .as_u64()
                    .with_context(|| answer.to_string())?,
                subject: text("subject").to_owned(),
                operation: headers
                    .lines()
                    .find_map(|line| line.strip_prefix("KV-Operation: "))
                    .map(str::to_owned),
                value: BASE64_STANDARD.decode(text("data"))?,
                time: text("time").to_owned(),
            });
        }
    }

    /// Writes messages: subjects without the bucket's, operations, and values.
    pub async fn write(
        &self,
        messages: impl IntoIterator<Item = (String, Option<&'static str>, Vec<u8>)>,
    ) -> Result<()> {
        let client = self.client().await?;
        let (mut sent, inbox) = (0_u64, client.new_inbox());
        let mut answers = client.subscribe(inbox.clone()).await?;
        let mut confirmed = 0;
        for (subject, operation, value) in messages {
            let mut headers = HeaderMap::new();
            if let Some(operation) = operation {
                headers.insert("KV-Operation", operation);
            }
            let subject = format!("$KV.{SCHEMA}.{subject}");
            client
                .publish_with_reply_and_headers(subject, inbox.clone(), headers, value.into())
                .await?;
            sent += 1;
            if sent - confirmed >= 500 {
                confirm(&mut answers).await?;
                confirmed += 1;
            }
        }
        while confirmed < sent {
            confirm(&mut answers).await?;
            confirmed += 1;
        }
        Ok(())
    }
}

async fn confirm(answers: &mut async_nats::Subscriber) -> Result<()> {
    use futures::StreamExt as _;
    let answer = answers.next().await.context("no answer")?;
    let answer: Value = serde_json::from_slice(&answer.payload)?;
    ensure!(answer["error"].is_null(), "{answer}");
    Ok(())
}

fn run(folder: &tempfile::TempDir) -> Result<Process> {
    let mut command = Command::new("nats-server");
    command
        .arg("--config")
        .arg(folder.path().join("server.conf"));
    Process::start(command, &folder.path().join("log"), Signal::KILL)
        .context("put `tests/cluster/cluster path` on PATH")
}
