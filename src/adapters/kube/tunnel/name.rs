//! Names that only a cluster's own DNS knows.
use std::net::IpAddr;

use super::super::KubeError;

/// A Service, as an endpoint names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceName {
    pub namespace: String,
    pub service: String,
    /// One of a headless Service's pods.
    pub pod: Option<String>,
    /// Whether the name says that it is a Service's. `etcd.stores` may be one, or a host of the internet.
    pub certain: bool,
}

/// What an endpoint, `host:port`, leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// None: a host that is dialled as it is.
    pub service: Option<ServiceName>,
    pub port: u16,
}

impl Endpoint {
    pub(super) fn parse(text: &str) -> Result<Self, KubeError> {
        let bad = |cause: &str| KubeError::Other {
            what: format!("endpoint `{text}` cannot be used"),
            cause: format!("{cause}; it should be HOST:PORT"),
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| bad("it has no port"))?;
        let port = port
            .parse()
            .map_err(|_| bad("its port is no number up to 65535"))?;
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        let service = ServiceName::of_host(host);
        Ok(Self { service, port })
    }
}

impl ServiceName {
    /// `SERVICE.NAMESPACE`, with `.svc` and a cluster's domain behind it, and with a pod's name before it.
    fn of_host(host: &str) -> Option<Self> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return None;
        }
        let labels: Vec<&str> = host.split('.').collect();
        if labels.iter().any(|label| !is_label(label)) {
            return None;
        }
        let (pod, service, namespace, certain) = match labels[..] {
            [service, namespace] => (None, service, namespace, false),
            [service, namespace, "svc", ..] => (None, service, namespace, true),
            [pod, service, namespace, "svc", ..] => (Some(pod), service, namespace, true),
            _ => return None,
        };
        Some(Self {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            pod: pod.map(str::to_owned),
            certain,
        })
    }
}

fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(Option<String>, String, String, bool)> {
        let service = Endpoint::parse(text).expect("an endpoint").service?;
        Some((
            service.pod,
            service.service,
            service.namespace,
            service.certain,
        ))
    }

    fn etcd(pod: Option<&str>, certain: bool) -> (Option<String>, String, String, bool) {
        let pod = pod.map(str::to_owned);
        (pod, "etcd".to_owned(), "stores".to_owned(), certain)
    }

    #[test]
    fn a_service_is_known_by_each_of_its_names() {
        assert_eq!(parse("etcd.stores:2379"), Some(etcd(None, false)));
        for name in [
            "etcd.stores.svc",
            "etcd.stores.svc.",
            "ETCD.stores.svc.cluster.local",
            "etcd.stores.svc.k8s.example.com",
        ] {
            assert_eq!(
                parse(&format!("{name}:2379")),
                Some(etcd(None, true)),
                "{name}"
            );
        }
    }

    #[test]
    fn a_pod_of_a_headless_service_is_known() {
        for name in [
            "etcd-0.etcd.stores.svc",
            "etcd-0.etcd.stores.svc.cluster.local",
            "etcd-0.etcd.stores.svc.k8s.example.com",
        ] {
            let found = Some(etcd(Some("etcd-0"), true));
            assert_eq!(parse(&format!("{name}:2379")), found, "{name}");
        }
    }

    #[test]
    fn other_hosts_are_dialled_as_they_are() {
        for host in [
            "10.0.0.1",
            "[fd00::1]",
            "localhost",
            "etcd.example.com",
            "db_1.stores",
        ] {
            assert_eq!(parse(&format!("{host}:2379")), None, "{host}");
        }
    }

    #[test]
    fn an_endpoint_has_a_host_and_a_port() {
        for (text, why) in [
            ("etcd.stores.svc", "no port"),
            ("etcd.stores.svc:client", "its port"),
            (":2379", "no host"),
        ] {
            let error = Endpoint::parse(text).expect_err(text).to_string();
            assert!(error.contains(text) && error.contains(why), "{error}");
        }
    }
}
