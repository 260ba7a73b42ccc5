//! A byte stream to a port of a pod, through the API server.
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::{Cluster, KubeError, cause};

/// From the request to the open stream. The API server and the kubelet both have to answer, and both may be slow.
const OPEN_BOUND: Duration = Duration::from_mins(1);

/// The pod's end of a stream is gone: nobody listens on the port, or the pod ended.
///
/// Arrives inside an `io::Error` of the stream, because the kubelet dials after the stream is open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("port {port} of pod {namespace}/{pod} cannot be reached: {said}")]
pub struct PortRefused {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The port.
    pub port: u16,
    /// The kubelet's text.
    pub said: String,
}

/// A stream to a port of a pod.
pub struct PortStream {
    bytes: DuplexStream,
    refusal: Option<BoxFuture<'static, Option<String>>>,
    target: PortRefused,
}

/// Opens a stream to a port of a running pod, within a bound.
pub async fn open_port(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    port: u16,
) -> Result<PortStream, KubeError> {
    let api: Api<Pod> = cluster.namespaced(namespace);
    let what = || format!("a connection to port {port} of pod {namespace}/{pod}");
    let found = api.get(pod).await?;
    let phase = found
        .status
        .and_then(|status| status.phase)
        .unwrap_or_else(|| "Unknown".to_owned());
    if phase != "Running" {
        return Err(KubeError::PodNotRunning {
            pod: format!("{namespace}/{pod}"),
            phase,
        });
    }
    let mut forward = tokio::time::timeout(OPEN_BOUND, api.portforward(pod, &[port]))
        .await
        .map_err(|_| KubeError::TimedOut {
            what: what(),
            after: OPEN_BOUND,
            last_seen: "no answer".to_owned(),
        })??;
    let refusal = forward.take_error(port);
    let bytes = forward.take_stream(port).ok_or_else(|| KubeError::Other {
        what: what(),
        cause: "the stream was taken already".to_owned(),
    })?;
    Ok(PortStream {
        bytes,
        refusal: refusal.map(|refusal| Box::pin(refusal) as BoxFuture<'static, _>),
        target: PortRefused {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            port,
            said: String::new(),
        },
    })
}

impl PortStream {
    /// The kubelet's refusal, if it has arrived; wakes the reader when it does.
    fn refused(&mut self, cx: &mut Context<'_>) -> Option<io::Error> {
        let said = match self.refusal.as_mut()?.as_mut().poll(cx) {
            Poll::Pending => return None,
            Poll::Ready(said) => said,
        };
        self.refusal = None;
        let said = cause::one_line(&said?);
        let kind = if said.contains("refused") {
            io::ErrorKind::ConnectionRefused
        } else {
            io::ErrorKind::BrokenPipe
        };
        Some(io::Error::new(
            kind,
            PortRefused {
                said,
                ..self.target.clone()
            },
        ))
    }
}

impl AsyncRead for PortStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut stream.bytes).poll_read(cx, buf);
        let got_bytes = matches!(read, Poll::Ready(Ok(()))) && buf.filled().len() > before;
        // Bytes that arrived before the refusal still count; an end of stream may be one in disguise.
        if got_bytes {
            return read;
        }
        match stream.refused(cx) {
            Some(error) => Poll::Ready(Err(error)),
            None => read,
        }
    }
}

impl AsyncWrite for PortStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if let Some(error) = stream.refused(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut stream.bytes).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().bytes).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().bytes).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fake::{Answer, FakeApi},
        *,
    };
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn stream(said: Option<&'static str>) -> (PortStream, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(64);
        let target = PortRefused {
            namespace: "shop".to_owned(),
            pod: "mover".to_owned(),
            port: 7000,
            said: String::new(),
        };
        let refusal = async move {
            match said {
                Some(said) => Some(said.to_owned()),
                None => std::future::pending().await,
            }
        };
        (
            PortStream {
                bytes: ours,
                refusal: Some(Box::pin(refusal)),
                target,
            },
            theirs,
        )
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_said_with_its_pod() {
        let (mut stream, _pod) = stream(Some(
            "dial tcp4 127.0.0.1:7000: connect: connection refused",
        ));
        let error = stream.read_u8().await.expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let inner = error
            .into_inner()
            .expect("typed")
            .downcast::<PortRefused>()
            .expect("ours");
        assert_eq!((inner.port, inner.pod.as_str()), (7000, "mover"));
    }

    #[tokio::test]
    async fn bytes_go_both_ways() {
        let (mut stream, mut pod) = stream(None);
        stream.write_all(b"ping").await.expect("room");
        let mut got = [0; 4];
        pod.read_exact(&mut got).await.expect("four bytes");
        pod.write_all(b"pong").await.expect("room");
        stream.read_exact(&mut got).await.expect("four bytes");
        assert_eq!(&got, b"pong");
    }

    #[tokio::test]
    async fn a_pod_that_does_not_run_is_not_dialled() {
        let fake = FakeApi::script([Answer::Json(
            200,
            json!({"metadata": {}, "status": {"phase": "Pending"}}),
        )]);
        let Err(error) = open_port(&fake.cluster(), "shop", "mover", 7000).await else {
            panic!("it does not run")
        };
        assert_eq!(
            error.to_string(),
            "pod shop/mover is Pending, not Running; see why with kubectl describe pod"
        );
    }
}
