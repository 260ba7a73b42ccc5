//! A command in a container of a pod, run to its end.
use std::time::Duration;

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{Api, api::AttachParams};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{Cluster, KubeError, cause};

/// Most of what a command writes that is kept; all of it is digested.
const KEPT: usize = 4 << 10;
/// Most of what a command may write: one that never stops is no check.
const MOST: u64 = 64 << 20;
/// Bytes that are read at once.
const PIECE: usize = 16 << 10;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandEnded {
    /// The code that it ended with.
    pub code: i32,
    /// What it wrote to standard output.
    pub out: Written,
    /// The same of standard error.
    pub err: Written,
}

/// What a command wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The beginning.
    pub head: Vec<u8>,
    /// How many bytes there were.
    pub bytes: u64,
    /// BLAKE3 over all of them.
    pub digest: String,
}

impl Written {
    /// All of it, where it is text and short enough to have been kept.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        let whole = usize::try_from(self.bytes).is_ok_and(|bytes| bytes == self.head.len());
        str::from_utf8(&self.head).ok().filter(|_| whole)
    }

    /// Its beginning in one line, for people.
    #[must_use]
    pub fn line(&self) -> String {
        cause::one_line(&String::from_utf8_lossy(&self.head))
    }
}

/// Runs a command in a container of a running pod; without a container in its first one.
///
/// What it wrote counts only with the code that it ended with: a stream that ends without is an error.
pub async fn run_command(
    cluster: &Cluster,
    (namespace, pod): (&str, &str),
    container: Option<&str>,
    command: &[String],
    bound: Duration,
) -> Result<CommandEnded, KubeError> {
    let program = command.first().map_or("", String::as_str);
    let what = format!("`{program}` in pod {namespace}/{pod} to end");
    let running = run(cluster, (namespace, pod), container, command, &what);
    match tokio::time::timeout(bound, running).await {
        Ok(ended) => ended,
        Err(_) => Err(KubeError::TimedOut {
            what,
            after: bound,
            last_seen: "it runs".to_owned(),
        }),
    }
}

async fn run(
    cluster: &Cluster,
    (namespace, pod): (&str, &str),
    container: Option<&str>,
    command: &[String],
    what: &str,
) -> Result<CommandEnded, KubeError> {
    let api: Api<Pod> = cluster.namespaced(namespace);
    let mut params = AttachParams::default()
        .stdin(false)
        .stdout(true)
        .stderr(true);
    if let Some(container) = container {
        params = params.container(container);
    }
    let broken = |cause: String| KubeError::Other {
        what: format!("waiting for {what}"),
        cause,
    };
    let mut process = api.exec(pod, command.iter().cloned(), &params).await?;
    let closed = || broken("a stream was taken already".to_owned());
    let status = process.take_status().ok_or_else(closed)?;
    let out = process.stdout().ok_or_else(closed)?;
    let err = process.stderr().ok_or_else(closed)?;
    let (out, err) =
        tokio::try_join!(written(out), written(err)).map_err(|error| broken(error.to_string()))?;
    let ended = status.await;
    process
        .join()
        .await
        .map_err(|error| broken(error.to_string()))?;
    let ended = ended.ok_or_else(|| broken("the stream broke off before its end".to_owned()))?;
    let code = code(&ended).map_err(broken)?;
    Ok(CommandEnded { code, out, err })
}

/// Reads a stream to its end.
async fn written(mut stream: impl AsyncRead + Unpin) -> std::io::Result<Written> {
    let (mut head, mut bytes, mut hasher) = (Vec::new(), 0, blake3::Hasher::new());
    let mut piece = vec![0; PIECE];
    loop {
        let read = stream.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        let piece = &piece[..read];
        hasher.update(piece);
        bytes += read as u64;
        let room = KEPT.saturating_sub(head.len()).min(read);
        head.extend_from_slice(&piece[..room]);
        if bytes > MOST {
            return Err(std::io::Error::other(format!(
                "it wrote more than {MOST} bytes"
            )));
        }
    }
    Ok(Written {
        head,
        bytes,
        digest: hasher.finalize().to_hex().to_string(),
    })
}

/// The code that a command ended with, as the kubelet tells it; else why there is none.
fn code(status: &Status) -> Result<i32, String> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let details = status.details.as_ref();
    let causes = details.and_then(|details| details.causes.as_ref());
    let code = causes
        .into_iter()
        .flatten()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .and_then(|cause| cause.message.as_ref()?.parse().ok());
    code.ok_or_else(|| {
        let message = status.message.as_deref().unwrap_or("no reason is given");
        cause::one_line(message)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(status: &Value) -> Result<i32, String> {
        let status: Status = serde_json::from_value(status.clone()).expect("a status");
        code(&status)
    }

    #[test]
    fn a_code_is_believed_only_where_the_kubelet_tells_it() {
        assert_eq!(told(&json!({"status": "Success"})), Ok(0));
        let failed = json!({"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [
            {"reason": "ExitCode", "message": "3"},
        ]}});
        assert_eq!(told(&failed), Ok(3));
        let unable = json!({"status": "Failure", "message": "exec: \"psql\":\nnot found"});
        let why = told(&unable).expect_err("it never ran");
        assert!(why.contains("psql") && !why.contains('\n'), "{why}");
        assert!(told(&json!({})).is_err());
    }

    #[tokio::test]
    async fn much_is_digested_and_not_kept() {
        let text = "x".repeat(10_000);
        let large = written(text.as_bytes()).await.expect("it ends");
        assert_eq!((large.bytes, large.head.len()), (10_000, KEPT));
        assert_eq!(large.text(), None);
        assert_eq!(
            large.digest,
            blake3::hash(text.as_bytes()).to_hex().to_string()
        );
        let small = written(&b"2|30\n"[..]).await.expect("it ends");
        assert_eq!(small.text(), Some("2|30\n"));
        let none = written(&b"\xff"[..]).await.expect("it ends");
        assert_eq!(none.text(), None);
    }
}
