//! What etcd's errors mean.
use std::error::Error as StdError;

use etcd_client::Error;
use tonic::{Code, Status};

use super::super::DatastoreError;

/// Texts of etcd that say who we are not, under codes that say less.
const REFUSALS: [&str; 4] = [
    "user name not found",
    "user name is empty",
    "authentication failed",
    "authentication is not enabled",
];

/// An error of a request to this store.
pub(super) fn fault(store: &str, doing: &str, error: &Error) -> DatastoreError {
    let store = store.to_owned();
    let lost = |cause: String| DatastoreError::Lost {
        store: store.clone(),
        doing: doing.to_owned(),
        cause,
    };
    let Error::GRpcStatus(status) = error else {
        return lost(error.to_string());
    };
    // A connection that could not be made has said why already.
    if let Some(known) = chain(status).find_map(|link| link.downcast_ref::<DatastoreError>()) {
        return known.clone();
    }
    let cause = status.message().to_owned();
    let refused = matches!(
        status.code(),
        Code::PermissionDenied | Code::Unauthenticated
    );
    if refused || REFUSALS.iter().any(|text| cause.contains(text)) {
        return DatastoreError::Refused { store, cause };
    }
    if cause.contains("database space exceeded") {
        return DatastoreError::Full { store, cause };
    }
    lost(text(status))
}

/// Whether what should be read is compacted away.
pub(super) fn is_compacted(error: &Error) -> bool {
    says(error, Code::OutOfRange, "has been compacted")
}

/// Whether the answer was larger than we, or the server, let a message be.
pub(super) fn is_too_large(error: &Error) -> bool {
    says(error, Code::OutOfRange, "message length too large")
        || says(error, Code::ResourceExhausted, "message larger than max")
}

/// Whether a lease that was named is not there.
pub(super) fn is_lease_gone(error: &Error) -> bool {
    says(error, Code::NotFound, "lease not found")
}

/// Whether a lease that should be granted is there.
pub(super) fn is_lease_there(error: &Error) -> bool {
    says(error, Code::FailedPrecondition, "lease already exists")
}

/// Whether a user or a role that was named is not there.
pub(super) fn is_nobody(error: &Error) -> bool {
    says(error, Code::FailedPrecondition, "user name not found")
        || says(error, Code::FailedPrecondition, "role name not found")
}

/// Whether what was sent is larger than the server takes.
pub(super) fn is_request_too_large(error: &Error) -> bool {
    says(error, Code::InvalidArgument, "request is too large")
}

fn says(error: &Error, code: Code, text: &str) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.code() == code && status.message().contains(text))
}

/// The status with the causes below it, each said once.
fn text(status: &Status) -> String {
    let mut parts: Vec<String> = vec![status.message().to_owned()];
    for link in chain(status).skip(1) {
        let link = link.to_string();
        if !parts.iter().any(|part| part.contains(&link)) {
            parts.push(link);
        }
    }
    parts.retain(|part| !part.is_empty() && part != "transport error");
    if parts.is_empty() {
        return format!("the connection broke ({:?})", status.code());
    }
    parts.join(": ")
}

fn chain(status: &Status) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let first: &(dyn StdError + 'static) = status;
    std::iter::successors(Some(first), |link| (*link).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: Code, text: &str) -> DatastoreError {
        let error = Error::GRpcStatus(Status::new(code, text));
        fault("datastore gold", "reading", &error)
    }

    #[test]
    fn each_answer_of_etcd_has_its_meaning() {
        assert!(matches!(
            of(Code::PermissionDenied, "etcdserver: permission denied"),
            DatastoreError::Refused { .. }
        ));
        assert!(matches!(
            of(Code::InvalidArgument, "etcdserver: user name is empty"),
            DatastoreError::Refused { .. }
        ));
        assert!(matches!(
            of(
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded"
            ),
            DatastoreError::Full { .. }
        ));
        assert_eq!(
            of(Code::Unavailable, "etcdserver: no leader").to_string(),
            "datastore gold failed while reading: etcdserver: no leader"
        );
    }

    #[test]
    fn why_there_is_no_connection_is_kept() {
        let known = DatastoreError::Unreachable {
            store: "datastore gold".to_owned(),
            endpoint: "gold:2379".to_owned(),
            cause: "connection refused".to_owned(),
        };
        let status = Status::from_error(Box::new(known.clone()));
        assert_eq!(
            fault("datastore gold", "reading", &Error::GRpcStatus(status)),
            known
        );
    }

    #[test]
    fn a_compacted_revision_is_not_a_large_message() {
        let compacted = Error::GRpcStatus(Status::out_of_range(
            "etcdserver: mvcc: required revision has been compacted",
        ));
        assert!(is_compacted(&compacted) && !is_too_large(&compacted));
        let large = Error::GRpcStatus(Status::out_of_range(
            "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes",
        ));
        assert!(is_too_large(&large) && !is_compacted(&large));
    }
}
