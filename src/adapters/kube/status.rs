//! From the server's answer to a `KubeError`. What was asked for travels inside the answer.
//!
//! kube's error type has no room for the request, so the door writes it into the `Status` as one
//! more cause, and `From<kube::Error>` takes it out again: `?` alone gives a full message.
use std::time::Duration;

use http::StatusCode;
use kube::core::{Status, response::StatusCause};
use serde::{Deserialize, Serialize};

use super::{Action, KubeError, ObjectName, cause};

/// Marks the cause that the door adds; never leaves this process.
const REQUEST_CAUSE: &str = "kubectl-migrate/request";

/// What the door knows about the request that a refusal answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pub action: Action,
    pub server: String,
    pub kubeconfig_user: String,
    pub tries: u32,
    pub since: Duration,
}

/// The server's `Status`, or one made from a proxy's HTML or a bare text.
pub(super) fn parse(code: StatusCode, body: &[u8]) -> Status {
    let mut status = serde_json::from_slice(body).unwrap_or_else(|_| {
        let text: String = cause::one_line(&String::from_utf8_lossy(body))
            .chars()
            .take(500)
            .collect();
        let text = if text.is_empty() {
            code.to_string()
        } else {
            text
        };
        Status::failure(&text, "")
    });
    if status.code == 0 {
        status.code = code.as_u16();
    }
    status
}

/// Writes the request into the answer.
pub(super) fn annotate(status: &mut Status, asked: &Asked) {
    let details = status.details.get_or_insert_with(|| {
        // Not `Default`: the type has none.
        kube::core::response::StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        }
    });
    let message = serde_json::to_string(asked).unwrap_or_default();
    details.causes.push(StatusCause {
        reason: REQUEST_CAUSE.to_owned(),
        message,
        field: String::new(),
    });
}

impl From<kube::Error> for KubeError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => from_status(*status),
            kube::Error::Service(inner) => match inner.downcast::<KubeError>() {
                Ok(ours) => *ours,
                Err(other) => Self::Other {
                    what: "the connection to the cluster failed".to_owned(),
                    cause: cause::text(other.as_ref()),
                },
            },
            kube::Error::SerdeError(_) => Self::Other {
                what: "cannot read the server's answer".to_owned(),
                cause: cause::text(&error),
            },
            _ => Self::Other {
                what: "the request to the cluster failed".to_owned(),
                cause: cause::text(&error),
            },
        }
    }
}

fn from_status(mut status: Status) -> KubeError {
    let asked = take_request(&mut status);
    let message = cause::one_line(&status.message);
    let Some(asked) = asked else {
        // Only a Status inside a watch comes without a request.
        return KubeError::Other {
            what: format!("the server answered {}", status.code),
            cause: message,
        };
    };
    let Asked {
        action,
        server,
        kubeconfig_user,
        tries,
        since,
    } = asked;
    let action = Box::new(action);
    match status.code {
        401 => KubeError::Auth {
            user: kubeconfig_user,
            server,
            cause: message,
        },
        403 => match refused_user(&message) {
            Some(user) => KubeError::Forbidden { user, action },
            None => KubeError::Invalid { action, message },
        },
        404 if is_unserved(&status) => KubeError::NotServed {
            resource: action.object.full_resource(),
        },
        404 => KubeError::NotFound {
            object: Box::new(missing(&status, &action)),
        },
        409 if status.is_already_exists() => KubeError::AlreadyExists {
            object: Box::new(action.object),
            tries,
        },
        409 => KubeError::Conflict {
            action,
            message,
            tries,
        },
        410 => KubeError::Expired { action },
        429 => KubeError::Throttled {
            action,
            tries,
            since,
            message,
        },
        400 | 413 | 422 => KubeError::Invalid { action, message },
        code @ 500..=599 => KubeError::ServerFailed {
            action,
            code,
            tries,
            since,
            message,
        },
        code => KubeError::Other {
            what: format!("cannot {action}"),
            cause: format!("HTTP {code}: {message}"),
        },
    }
}

fn take_request(status: &mut Status) -> Option<Asked> {
    let causes = &mut status.details.as_mut()?.causes;
    let at = causes
        .iter()
        .position(|cause| cause.reason == REQUEST_CAUSE)?;
    serde_json::from_str(&causes.remove(at).message).ok()
}

/// The user in RBAC's text; quota, Pod Security and webhooks answer 403 as well, without one.
fn refused_user(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("User \"")?;
    let (user, rest) = rest.split_once('"')?;
    rest.trim_start()
        .starts_with("cannot")
        .then(|| user.to_owned())
}

/// The API server's answer for a path that it does not know.
fn is_unserved(status: &Status) -> bool {
    status.message == "the server could not find the requested resource"
        || status.message.starts_with("404 page not found")
}

/// Creating in a namespace that does not exist answers with the namespace, not with the object.
fn missing(status: &Status, action: &Action) -> ObjectName {
    match &status.details {
        Some(details) if details.kind == "namespaces" && action.object.resource != "namespaces" => {
            ObjectName {
                resource: "namespaces".to_owned(),
                name: Some(details.name.clone()),
                ..ObjectName::default()
            }
        }
        _ => action.object.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, Uri};

    fn answer(code: u16, body: &str) -> KubeError {
        let uri = Uri::from_static("/apis/apps/v1/namespaces/shop/statefulsets/orders-db");
        let asked = Asked {
            action: Action::of(&Method::GET, &uri, b""),
            server: "https://prod:6443".to_owned(),
            kubeconfig_user: "jane".to_owned(),
            tries: 2,
            since: Duration::from_secs(1),
        };
        let code = StatusCode::from_u16(code).expect("a code");
        let mut status = parse(code, body.as_bytes());
        annotate(&mut status, &asked);
        kube::Error::Api(status.boxed()).into()
    }

    fn failure(reason: &str, message: &str) -> String {
        serde_json::json!({"kind": "Status", "status": "Failure", "reason": reason, "message": message}).to_string()
    }

    #[test]
    fn rbac_is_told_from_quota() {
        let rbac = answer(
            403,
            &failure(
                "Forbidden",
                r#"statefulsets.apps "orders-db" is forbidden: User "system:serviceaccount:a:b" cannot get resource"#,
            ),
        );
        assert!(
            matches!(&rbac, KubeError::Forbidden { user, .. } if user == "system:serviceaccount:a:b"),
            "{rbac}"
        );
        let quota = answer(
            403,
            &failure(
                "Forbidden",
                r#"pods "x" is forbidden: exceeded quota: small"#,
            ),
        );
        assert!(
            matches!(&quota, KubeError::Invalid { message, .. } if message.contains("exceeded quota")),
            "{quota}"
        );
    }

    #[test]
    fn an_unknown_kind_is_not_a_missing_object() {
        let unknown = answer(404, "404 page not found\n");
        assert_eq!(
            unknown,
            KubeError::NotServed {
                resource: "statefulsets.apps".to_owned()
            }
        );
        let missing = answer(
            404,
            &failure("NotFound", r#"statefulsets.apps "orders-db" not found"#),
        );
        assert_eq!(missing.to_string(), "statefulset shop/orders-db not found");
    }

    #[test]
    fn a_proxys_page_is_cut_to_one_line() {
        let error = answer(502, "<html>\n<h1>Bad Gateway</h1>\n</html>");
        assert_eq!(
            error.to_string(),
            "cannot get statefulset shop/orders-db: server error 502 after 2 tries in 1.0s: <html> <h1>Bad Gateway</h1> </html>"
        );
    }
}
