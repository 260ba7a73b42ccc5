//! What a request asks for, in the words of Kubernetes' authorisation: verb, resource, object.
use std::fmt;

use http::{Method, Uri};
use serde::{Deserialize, Serialize};

/// One request to the API server, read back from its method and path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// The authorisation verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The object or the collection that is asked for.
    pub object: ObjectName,
}

/// An object or a collection of objects, as a person would name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectName {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural resource, such as `pods`; empty for a path that is no resource (then `name` is the path).
    pub resource: String,
    /// Subresource, such as `scale`.
    pub subresource: Option<String>,
    /// Namespace, if the resource is in one.
    pub namespace: Option<String>,
    /// Name; `None` for a collection.
    pub name: Option<String>,
}

impl Action {
    /// Reads the request back; `body` gives the name of an object that is being created.
    #[must_use]
    pub fn of(method: &Method, uri: &Uri, body: &[u8]) -> Self {
        let mut object = ObjectName::from_path(uri.path());
        let watching = uri.query().is_some_and(|query| {
            query
                .split('&')
                .any(|pair| matches!(pair, "watch=true" | "watch=1"))
        });
        let verb = match (method.as_str(), &object.name) {
            ("GET" | "HEAD", _) if watching => "watch",
            ("GET" | "HEAD", None) => "list",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", None) => "deletecollection",
            ("DELETE", Some(_)) => "delete",
            _ => "get",
        };
        if verb == "create" && object.name.is_none() {
            object.name = name_in(body);
        }
        Self {
            verb: verb.to_owned(),
            object,
        }
    }

    /// True for requests that ask a question by POST (access and token reviews) and change nothing.
    #[must_use]
    pub fn is_review(&self) -> bool {
        self.verb == "create"
            && matches!(
                self.object.group.as_str(),
                "authorization.k8s.io" | "authentication.k8s.io"
            )
            && self.object.resource.ends_with("reviews")
    }

    /// True for commands in a container, which may change anything there, though the request is a GET.
    #[must_use]
    pub fn is_exec(&self) -> bool {
        self.object.resource == "pods" && self.object.subresource.as_deref() == Some("exec")
    }

    /// True for the Leases, by which a runner holds its lock.
    #[must_use]
    pub fn is_lease(&self) -> bool {
        self.object.group == "coordination.k8s.io" && self.object.resource == "leases"
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.verb == "deletecollection" {
            "delete"
        } else {
            &self.verb
        };
        write!(f, "{verb} {}", self.object)
    }
}

impl ObjectName {
    /// Reads the name out of an API path (`/api/v1/namespaces/shop/pods/orders-db-1`).
    #[must_use]
    pub fn from_path(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (group, rest) = match parts.as_slice() {
            ["api", _version, rest @ ..] if !rest.is_empty() => ("", rest),
            ["apis", group, _version, rest @ ..] if !rest.is_empty() => (*group, rest),
            _ => {
                return Self {
                    name: Some(path.to_owned()),
                    ..Self::default()
                };
            }
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..]
                if !rest.is_empty() && !is_namespace_part(rest) =>
            {
                (Some((*namespace).to_owned()), rest)
            }
            _ => (None, rest),
        };
        let owned = |index: usize| rest.get(index).map(|part| (*part).to_owned());
        Self {
            group: group.to_owned(),
            resource: owned(0).unwrap_or_default(),
            name: owned(1),
            subresource: owned(2),
            namespace,
        }
    }

    /// The resource as rules and discovery name it: `pods`, `statefulsets.apps`, `statefulsets.apps/scale`.
    #[must_use]
    pub fn full_resource(&self) -> String {
        let group = if self.group.is_empty() {
            String::new()
        } else {
            format!(".{}", self.group)
        };
        let subresource = self
            .subresource
            .as_ref()
            .map(|name| format!("/{name}"))
            .unwrap_or_default();
        format!("{}{group}{subresource}", self.resource)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, &self.namespace) {
            (Some(path), _) if self.resource.is_empty() => write!(f, "{path}")?,
            (Some(name), Some(namespace)) => {
                write!(f, "{} {namespace}/{name}", singular(&self.resource))?;
            }
            (Some(name), None) => write!(f, "{} {name}", singular(&self.resource))?,
            (None, Some(namespace)) => write!(f, "{} in namespace {namespace}", self.resource)?,
            (None, None) => write!(f, "{}", self.resource)?,
        }
        match &self.subresource {
            Some(subresource) => write!(f, " ({subresource})"),
            None => Ok(()),
        }
    }
}

/// `status` and `finalize` below a namespace are parts of the namespace itself, not resources in it.
fn is_namespace_part(rest: &[&str]) -> bool {
    matches!(rest, ["status" | "finalize"])
}

/// The singular of a resource's plural, by the rules that Kubernetes' own plurals follow.
#[must_use]
pub fn singular(plural: &str) -> String {
    if plural == "endpoints" {
        return plural.to_owned();
    }
    if let Some(stem) = plural.strip_suffix("ies") {
        return format!("{stem}y");
    }
    let stem = plural.strip_suffix('s').unwrap_or(plural);
    match stem.strip_suffix('e') {
        Some(short) if short.ends_with("ss") || short.ends_with('x') || short.ends_with("ch") => {
            short.to_owned()
        }
        _ => stem.to_owned(),
    }
}

fn name_in(body: &[u8]) -> Option<String> {
    let object: serde_json::Value = serde_json::from_slice(body).ok()?;
    let metadata = object.get("metadata")?;
    let named = metadata
        .get("name")
        .or_else(|| metadata.get("generateName"))?;
    Some(named.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(method: &Method, path: &'static str, body: &str) -> String {
        Action::of(method, &Uri::from_static(path), body.as_bytes()).to_string()
    }

    #[test]
    fn a_request_is_named_as_a_person_would() {
        assert_eq!(
            action(&Method::GET, "/api/v1/namespaces/shop/pods/orders-db-1", ""),
            "get pod shop/orders-db-1"
        );
        assert_eq!(
            action(&Method::GET, "/api/v1/namespaces/shop/pods?limit=500", ""),
            "list pods in namespace shop"
        );
        assert_eq!(
            action(&Method::GET, "/api/v1/pods?&watch=true&x=y", ""),
            "watch pods"
        );
        assert_eq!(
            action(&Method::GET, "/api/v1/namespaces/shop", ""),
            "get namespace shop"
        );
        assert_eq!(
            action(&Method::PUT, "/api/v1/namespaces/shop/finalize", ""),
            "update namespace shop (finalize)"
        );
        assert_eq!(action(&Method::GET, "/version", ""), "get /version");
        assert_eq!(
            action(
                &Method::PUT,
                "/apis/apps/v1/namespaces/shop/statefulsets/orders-db/scale",
                ""
            ),
            "update statefulset shop/orders-db (scale)"
        );
        assert_eq!(
            action(
                &Method::POST,
                "/api/v1/namespaces/shop/pods",
                r#"{"metadata":{"name":"mover"}}"#
            ),
            "create pod shop/mover"
        );
        assert_eq!(
            action(&Method::DELETE, "/apis/batch/v1/namespaces/shop/jobs", ""),
            "delete jobs in namespace shop"
        );
    }

    #[test]
    fn plurals_become_singular() {
        for (plural, one) in [
            ("pods", "pod"),
            ("leases", "lease"),
            ("ingresses", "ingress"),
            ("storageclasses", "storageclass"),
            ("networkpolicies", "networkpolicy"),
            ("endpoints", "endpoints"),
            ("persistentvolumeclaims", "persistentvolumeclaim"),
        ] {
            assert_eq!(singular(plural), one);
        }
    }

    #[test]
    fn reviews_and_leases_are_told_from_changes() {
        let review = Action::of(
            &Method::POST,
            &Uri::from_static("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
            b"{}",
        );
        assert!(review.is_review());
        let lease = Action::of(
            &Method::PUT,
            &Uri::from_static("/apis/coordination.k8s.io/v1/namespaces/shop/leases/migrate-orders"),
            b"{}",
        );
        assert!(lease.is_lease() && !lease.is_review());
    }
}
