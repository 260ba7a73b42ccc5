use super::*;
use http::{Method, Uri};

fn action(method: &Method) -> Box<Action> {
    let uri = Uri::from_static("/apis/apps/v1/namespaces/shop/statefulsets/orders-db");
    Box::new(Action::of(method, &uri, b""))
}

const SERVER: &str = "https://prod:6443";

#[test]
fn each_text_names_its_object_and_what_to_do() {
    let errors = answers().into_iter().chain(failures());
    let texts: Vec<String> = errors.map(|error| error.to_string()).collect();
    insta::assert_snapshot!(texts.join("\n"), @r#"
    forbidden to patch statefulset shop/orders-db: user "jane" needs verb "patch" on resource "statefulsets.apps" in namespace "shop"; grant it, or choose another user with --context or --as
    statefulset shop/orders-db not found
    the cluster serves no resource "scaledobjects.keda.sh"; install what defines it, or check the cluster's version
    cannot update statefulset shop/orders-db: the object has been modified; look at what changed it, then go on
    statefulset shop/orders-db already exists and was not made by this migration; rename or remove it
    cannot update statefulset shop/orders-db: exceeded quota: storage
    cannot get statefulset shop/orders-db: the server still throttles after 9 tries in 60s: too many requests
    cannot get statefulset shop/orders-db: server error 503 after 2 tries in 1.2s: no leader
    cannot get statefulset shop/orders-db: https://prod:6443 is unreachable after 3 tries in 5.0s: connection refused; check the network, VPN and --context
    timed out after 120s waiting for pod shop/orders-db-1 to be ready; last seen: Pending
    gave up waiting for job shop/copy to complete: BackoffLimitExceeded
    pod shop/mover is Pending, not Running; see why with kubectl describe pod
    cannot trust https://prod:6443: invalid peer certificate: UnknownIssuer; check certificate-authority and tls-server-name in the kubeconfig
    cannot log in to https://prod:6443 as kubeconfig user "jane": token expired; log in again or renew the credentials
    did not update statefulset shop/orders-db: this run lost its lock (held by bob@desk since fence 4); another run may be at work
    cannot tell whether this worked: create statefulset shop/orders-db: connection reset; look at the object before trying again
    cannot get statefulset shop/orders-db: the server no longer keeps this version; list again
    cannot use kubeconfig /home/jane/.kube/config: no context "prod"
    cannot read the answer: expected value
    "#);
}

/// What a server answers.
fn answers() -> Vec<KubeError> {
    vec![
        KubeError::Forbidden {
            user: "jane".into(),
            action: action(&Method::PATCH),
        },
        KubeError::NotFound {
            object: Box::new(action(&Method::GET).object),
        },
        KubeError::NotServed {
            resource: "scaledobjects.keda.sh".into(),
        },
        KubeError::Conflict {
            action: action(&Method::PUT),
            message: "the object has been modified".into(),
            tries: 1,
        },
        KubeError::AlreadyExists {
            object: Box::new(action(&Method::GET).object),
            tries: 1,
        },
        KubeError::Invalid {
            action: action(&Method::PUT),
            message: "exceeded quota: storage".into(),
        },
        KubeError::Throttled {
            action: action(&Method::GET),
            tries: 9,
            since: Duration::from_mins(1),
            message: "too many requests".into(),
        },
        KubeError::ServerFailed {
            action: action(&Method::GET),
            code: 503,
            tries: 2,
            since: Duration::from_millis(1250),
            message: "no leader".into(),
        },
    ]
}

/// What happens without an answer.
fn failures() -> Vec<KubeError> {
    vec![
        KubeError::Unreachable {
            action: action(&Method::GET),
            server: SERVER.into(),
            tries: 3,
            since: Duration::from_secs(5),
            cause: "connection refused".into(),
        },
        KubeError::TimedOut {
            what: "pod shop/orders-db-1 to be ready".into(),
            after: Duration::from_mins(2),
            last_seen: "Pending".into(),
        },
        KubeError::WillNotHappen {
            what: "job shop/copy to complete".into(),
            why: "BackoffLimitExceeded".into(),
        },
        KubeError::PodNotRunning {
            pod: "shop/mover".into(),
            phase: "Pending".into(),
        },
        KubeError::Tls {
            server: SERVER.into(),
            cause: "invalid peer certificate: UnknownIssuer".into(),
        },
        KubeError::Auth {
            user: "jane".into(),
            server: SERVER.into(),
            cause: "token expired".into(),
        },
        KubeError::LockLost {
            action: action(&Method::PUT),
            why: "held by bob@desk since fence 4".into(),
        },
        KubeError::Ambiguous {
            action: action(&Method::POST),
            cause: "connection reset".into(),
        },
        KubeError::Expired {
            action: action(&Method::GET),
        },
        KubeError::Kubeconfig {
            file: "/home/jane/.kube/config".into(),
            cause: "no context \"prod\"".into(),
        },
        KubeError::Other {
            what: "cannot read the answer".into(),
            cause: "expected value".into(),
        },
    ]
}
