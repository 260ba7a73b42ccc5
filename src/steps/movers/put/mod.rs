//! The mover's executable, put into a pod of an image that does not hold it: for clusters without a registry.
//!
//! The pod waits ([`WAIT`]) with nothing but a shell. The client sends the executable there by commands in the pod
//! ([`PUT`]), piece by piece; has it digested there, before it is run, with the image's own `sha256sum` or by reading
//! it back; and lets it say of itself who it is. Only then the pod is told to become it. That a command ended well is
//! never believed: what counts are lengths, digests and the mark at the end of an answer.
mod deliver;
mod elf;
mod executable;
mod suited;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::{Mover, Movers, ensure::Running, objects::CONTAINER};
use crate::{
    adapters::kube::{Call, KubeError, Said, exec},
    engine::{Failure, Kind, Sink},
};
use deliver::{Delivered, PIECE, deliver, runs};
pub(super) use deliver::{Undelivered, may_pass, whole};

pub(super) use executable::hexadecimal;
pub use executable::{Executable, NoExecutable, Opened, own_digest};
pub use suited::{Suited, has_image, may_have_image};

/// What a pod does until its executable is there.
pub(super) const WAIT: &str = include_str!("wait.sh");
/// What is run in the pod meanwhile.
const PUT: &str = include_str!("put.sh");
/// Where a pod keeps its executable.
pub(super) const FOLDER: &str = "/executable";
/// More than any executable needs, of which there may be two for a moment; a node is not to be filled by a mistake.
const ROOM: &str = "2Gi";

/// A script as the argument of a shell: in audit logs and request lines its comments would be in the way.
pub(super) fn script(text: &str) -> String {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    code.collect::<Vec<_>>().join("\n")
}

/// Changes a mover's container so that it waits for its executable; gives the volume that it comes to.
pub(super) fn waits(container: &mut Value, patience: u32) -> Value {
    container["imagePullPolicy"] = json!("Never");
    container["command"] = json!(["sh", "-c", script(WAIT), "wait"]);
    let mut args = vec![json!(FOLDER), json!(patience.to_string())];
    args.extend(container["args"].as_array().into_iter().flatten().cloned());
    container["args"] = json!(args);
    if let Some(mounts) = container["volumeMounts"].as_array_mut() {
        mounts.push(json!({"name": "executable", "mountPath": FOLDER}));
    }
    json!({"name": "executable", "emptyDir": {"sizeLimit": ROOM}})
}

impl Movers {
    /// Runs a deed of [`PUT`] in a pod.
    async fn deed(
        &self,
        mover: Mover,
        pod: &str,
        words: Vec<String>,
        input: Vec<u8>,
        most: usize,
    ) -> Result<Said, KubeError> {
        let place = self.place(mover.side);
        let begin = ["sh", "-c", &script(PUT), "put", FOLDER].map(str::to_owned);
        let command = [&begin[..], &words].concat();
        let call = Call {
            namespace: &place.namespace,
            pod,
            container: CONTAINER,
            command: &command,
            input: &input,
            most,
        };
        exec(&place.cluster, &call).await
    }

    /// Puts the executable into a pod that waits for it, and starts it.
    pub(super) async fn put(
        &self,
        mover: Mover,
        pod: &str,
        executable: &Opened,
        sink: &Sink,
        step: &str,
    ) -> Result<(), Undelivered> {
        let object = self.place(mover.side).object("pod", pod);
        let run = |words, input, most| -> BoxFuture<'_, _> {
            Box::pin(self.deed(mover, pod, words, input, most))
        };
        let tell = |sent: u64| {
            let (sent, all) = (sent >> 20, executable.length >> 20);
            sink.waiting(
                step,
                &format!("{object} to have the executable: {sent} of {all} MiB"),
            );
        };
        let Delivered { checked_by } = deliver(executable, PIECE, &run, &tell).await?;
        sink.notice(format!(
            "{object}: the executable {executable} was put into image {}, checked there by {checked_by}, and started",
            self.image
        ));
        Ok(())
    }

    /// A mover that runs, with the executable that it runs; none when that is not ours, so that it has to go.
    pub(super) async fn proven(
        &self,
        running: Running,
        executable: &Opened,
    ) -> Result<Option<Running>, Undelivered> {
        let run = |words, input, most| -> BoxFuture<'_, _> {
            Box::pin(self.deed(running.mover, &running.pod, words, input, most))
        };
        if !runs(executable, &run).await? {
            return Ok(None);
        }
        Ok(Some(Running {
            image: format!(
                "{} with executable sha256:{}",
                running.image, executable.sha256
            ),
            ..running
        }))
    }

    /// Why a pod cannot have the executable, and what to do about it.
    pub(super) fn not_delivered(&self, mover: Mover, pod: &str, why: &Undelivered) -> Failure {
        let object = self.place(mover.side).object("pod", pod);
        let image = &self.image;
        let (kind, cure) = match why {
            Undelivered::Missing { .. } | Undelivered::CannotRun { .. } => (
                Kind::Blocked,
                "; roll back, then name another image that the nodes have with --mover-image, or bring the movers' own image to them",
            ),
            _ => (Kind::Error, ""),
        };
        let why =
            format!("the executable cannot be put into {object} (image {image}): {why}{cure}");
        Failure::new(kind, why)
    }
}

#[cfg(test)]
mod tests;
