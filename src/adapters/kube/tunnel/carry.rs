//! One connection, carried to the first pod that takes it.
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};

use super::{super::KubeError, resolve::PodPort};

/// What a client says before it hears anything; more is not kept for a second pod.
const KEPT: usize = 64 << 10;

/// Carries the connection of `client` to one of these pods until either end closes it. A kubelet tells that
/// nobody listens only after its stream is open: the next pod then hears what was said to the first.
pub(super) async fn carry<C, S, F>(
    client: &mut C,
    pods: Vec<PodPort>,
    open: impl Fn(PodPort) -> F,
    arrived: impl Fn(),
) -> Result<(), String>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<S, KubeError>>,
{
    let mut said = Vec::new();
    let mut failure = "there is no pod to try".to_owned();
    for pod in pods {
        let mut stream = match open(pod).await {
            Ok(stream) => stream,
            Err(error) => {
                failure = error.to_string();
                continue;
            }
        };
        match begin(client, &mut stream, &mut said).await {
            Ok(Begun::Ended) => return Ok(()),
            Ok(Begun::Answered) => {
                arrived();
                return copy_bidirectional(client, &mut stream)
                    .await
                    .map(|_| ())
                    .map_err(|error| error.to_string());
            }
            Err(error) => failure = error.to_string(),
        }
        if said.len() > KEPT {
            break;
        }
    }
    Err(failure)
}

enum Begun {
    /// The pod has spoken, or so much was said to it that it cannot be said again.
    Answered,
    /// One end closed before.
    Ended,
}

/// Carries bytes until the pod's first. An error is the pod's.
async fn begin<C, S>(client: &mut C, pod: &mut S, said: &mut Vec<u8>) -> io::Result<Begun>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    pod.write_all(said).await?;
    pod.flush().await?;
    let (mut from_client, mut from_pod) = (vec![0; 16 << 10], vec![0; 16 << 10]);
    while said.len() <= KEPT {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(count @ 1..) = read else { return Ok(Begun::Ended) };
                said.extend_from_slice(&from_client[..count]);
                pod.write_all(&from_client[..count]).await?;
                pod.flush().await?;
            }
            read = pod.read(&mut from_pod) => {
                let count = read?;
                if count == 0 {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the pod closed it at once"));
                }
                // A client that is gone is no fault of the pod.
                if client.write_all(&from_pod[..count]).await.is_err() {
                    return Ok(Begun::Ended);
                }
                return Ok(Begun::Answered);
            }
        }
    }
    Ok(Begun::Answered)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{DuplexStream, duplex};

    use super::*;

    fn pods(names: &[&str]) -> Vec<PodPort> {
        let pod = |name: &&str| PodPort {
            namespace: "stores".to_owned(),
            pod: (*name).to_owned(),
            port: 2379,
        };
        names.iter().map(pod).collect()
    }

    /// A pod that repeats what it hears, in capitals.
    fn loud() -> DuplexStream {
        let (ours, mut theirs) = duplex(1024);
        tokio::spawn(async move {
            let mut heard = [0; 64];
            while let Ok(count @ 1..) = theirs.read(&mut heard).await {
                heard.make_ascii_uppercase();
                if theirs.write_all(&heard[..count]).await.is_err() {
                    return;
                }
            }
        });
        ours
    }

    /// A pod whose port nobody listens on: it closes after it has heard something.
    fn deaf() -> DuplexStream {
        let (ours, mut theirs) = duplex(1024);
        tokio::spawn(async move { theirs.read(&mut [0; 64]).await });
        ours
    }

    #[tokio::test]
    async fn the_next_pod_hears_what_was_said_to_one_that_refused() {
        let (mut ours, mut client) = duplex(1024);
        let arrivals = AtomicUsize::new(0);
        let names = pods(&["away", "deaf", "loud"]);
        let open = async |pod: PodPort| match pod.pod.as_str() {
            "loud" => Ok(loud()),
            "deaf" => Ok(deaf()),
            _ => Err(KubeError::PodNotRunning {
                pod: "stores/away".to_owned(),
                phase: "Pending".to_owned(),
            }),
        };
        let arrived = || {
            arrivals.fetch_add(1, Ordering::Relaxed);
        };
        let talk = async {
            client.write_all(b"hello").await.expect("room");
            let mut heard = [0; 5];
            client.read_exact(&mut heard).await.expect("an answer");
            assert_eq!(&heard, b"HELLO");
            client.write_all(b"again").await.expect("room");
            client.read_exact(&mut heard).await.expect("an answer");
            assert_eq!(&heard, b"AGAIN");
            drop(client);
        };
        let (carried, ()) = tokio::join!(carry(&mut ours, names, open, arrived), talk);
        assert_eq!(carried, Ok(()));
        assert_eq!(arrivals.into_inner(), 1);
    }

    #[tokio::test]
    async fn why_no_pod_took_it_is_said() {
        let (mut ours, mut client) = duplex(1024);
        client.write_all(b"hello").await.expect("room");
        let open = async |_: PodPort| Ok(deaf());
        let carried = carry(&mut ours, pods(&["a", "b"]), open, || ()).await;
        assert_eq!(carried, Err("the pod closed it at once".to_owned()));
    }
}
