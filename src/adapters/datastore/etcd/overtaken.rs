//! Requests that a change of etcd's users overtook.
//!
//! etcd looks at a request's user when it comes and again at its turn. If any user or role was made or removed
//! between the two, it refuses, before anything is done: `ErrGRPCAuthOldRevision` of etcd's rpctypes. On a store
//! that many tenants share, that is another tenant's beginning or end, and no failure of ours.
use etcd_client::Error;
use tonic::{Code, Status};

const SAID: &str = "revision of auth store is old";
/// Each needs another change of users to be refused, of which a store sees few.
const TRIES: usize = 20;

/// Sends a request, and again where a change of users overtook it.
pub(super) async fn once_more<T, F>(mut send: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 1..TRIES {
        match send().await {
            Err(Error::GRpcStatus(status)) if is_overtaken(&status) => {}
            answer => return answer,
        }
    }
    send().await
}

fn is_overtaken(status: &Status) -> bool {
    status.code() == Code::InvalidArgument && status.message().contains(SAID)
}

/// Whether a watch was ended for that: it says so in a text alone.
pub(super) fn says_overtaken(reason: &str) -> bool {
    reason.contains(SAID)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Error {
        Error::GRpcStatus(Status::invalid_argument(text))
    }

    #[tokio::test]
    async fn what_was_overtaken_is_sent_again_and_nothing_else() {
        let mut sent = 0;
        let answer = once_more(|| {
            sent += 1;
            let answer = if sent < 3 {
                Err(refused("etcdserver: revision of auth store is old"))
            } else {
                Ok(sent)
            };
            std::future::ready(answer)
        });
        assert!(matches!(answer.await, Ok(3)));

        let mut sent = 0;
        let answer = once_more(|| {
            sent += 1;
            std::future::ready(Err::<(), _>(refused("etcdserver: request is too large")))
        });
        assert!(answer.await.is_err());
        assert_eq!(sent, 1);
    }

    #[tokio::test]
    async fn it_is_not_sent_for_ever() {
        let mut sent = 0;
        let answer = once_more(|| {
            sent += 1;
            std::future::ready(Err::<(), _>(refused(
                "etcdserver: revision of auth store is old",
            )))
        });
        assert!(answer.await.is_err());
        assert_eq!(sent, TRIES);
    }
}
