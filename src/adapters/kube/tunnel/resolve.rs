//! A Service's pods that can be talked to, as the cluster's own proxies would choose them.
use k8s_openapi::api::{
    core::v1::Service,
    discovery::v1::{Endpoint, EndpointSlice},
};

use super::{
    super::{Cluster, KubeError, Selector, list_all},
    name::ServiceName,
};

/// A port of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodPort {
    pub namespace: String,
    pub pod: String,
    pub port: u16,
}

/// The ready pods behind a Service's port, at least one.
pub(super) async fn pods(
    cluster: &Cluster,
    name: &ServiceName,
    port: u16,
) -> Result<Vec<PodPort>, KubeError> {
    let service = cluster
        .namespaced::<Service>(&name.namespace)
        .get(&name.service)
        .await?;
    let way = way(&service, port).map_err(|cause| unreachable(name, cause))?;
    let label = format!("kubernetes.io/service-name={}", name.service);
    let selector = Selector::labels(label);
    let slices: Vec<EndpointSlice> =
        list_all(&cluster.namespaced(&name.namespace), &selector).await?;
    choose(&slices, name, &way).map_err(|cause| unreachable(name, cause))
}

fn unreachable(name: &ServiceName, cause: String) -> KubeError {
    KubeError::Other {
        what: format!(
            "service {}/{} cannot be reached",
            name.namespace, name.service
        ),
        cause,
    }
}

/// How the port of a pod is found.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// A headless Service only gives addresses: the port is the pods' own.
    Direct(u16),
    /// The slices tell the pods' ports by this name.
    Named(String),
}

fn way(service: &Service, port: u16) -> Result<Way, String> {
    let spec = service.spec.as_ref().ok_or("it has no spec")?;
    if let Some(host) = &spec.external_name {
        return Err(format!("it stands for {host}; name that in the DataStore"));
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        return Ok(Way::Direct(port));
    }
    let ports = spec.ports.as_deref().unwrap_or_default();
    let found = ports.iter().find(|found| found.port == i32::from(port));
    let found = found.ok_or_else(|| {
        let there: Vec<String> = ports.iter().map(|port| port.port.to_string()).collect();
        format!("it has no port {port}, only {}", there.join(", "))
    })?;
    Ok(Way::Named(found.name.clone().unwrap_or_default()))
}

fn choose(slices: &[EndpointSlice], name: &ServiceName, way: &Way) -> Result<Vec<PodPort>, String> {
    let mut chosen = Vec::new();
    let (mut not_ready, mut no_pod) = (0, 0);
    for slice in slices {
        let Some(port) = port_of(slice, way) else {
            continue;
        };
        for endpoint in &slice.endpoints {
            if !is_meant(endpoint, name) {
                continue;
            }
            if endpoint.conditions.as_ref().and_then(|at| at.ready) == Some(false) {
                not_ready += 1;
                continue;
            }
            let Some(pod) = pod_of(endpoint) else {
                no_pod += 1;
                continue;
            };
            let found = PodPort {
                namespace: name.namespace.clone(),
                pod: pod.to_owned(),
                port,
            };
            // One of each address family.
            if !chosen.contains(&found) {
                chosen.push(found);
            }
        }
    }
    let whose = match &name.pod {
        Some(pod) => format!("pod {pod}"),
        None => "none of its pods".to_owned(),
    };
    match (chosen.len(), not_ready, no_pod) {
        (0, 0, 0) if name.pod.is_some() => Err(format!("{whose} is not there")),
        (0, 0, 0) => Err("it has no pods".to_owned()),
        (0, 0, _) => Err("what is behind it are no pods".to_owned()),
        (0, _, _) if name.pod.is_some() => Err(format!("{whose} is not ready")),
        (0, _, _) => Err(format!("{whose} is ready")),
        _ => Ok(chosen),
    }
}

fn port_of(slice: &EndpointSlice, way: &Way) -> Option<u16> {
    let name = match way {
        Way::Direct(port) => return Some(*port),
        Way::Named(name) => name,
    };
    let ports = slice.ports.iter().flatten();
    let mut same = ports.filter(|port| port.name.as_deref().unwrap_or_default() == name);
    same.find_map(|port| u16::try_from(port.port?).ok())
}

/// A headless Service gives each pod the name of its host name.
fn is_meant(endpoint: &Endpoint, name: &ServiceName) -> bool {
    let Some(pod) = name.pod.as_deref() else {
        return true;
    };
    endpoint.hostname.as_deref() == Some(pod) || pod_of(endpoint) == Some(pod)
}

fn pod_of(endpoint: &Endpoint) -> Option<&str> {
    let target = endpoint.target_ref.as_ref()?;
    let is_pod = target.kind.as_deref() == Some("Pod");
    target.name.as_deref().filter(|_| is_pod)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::super::fake::{Answer, FakeApi},
        *,
    };

    fn name(pod: Option<&str>) -> ServiceName {
        ServiceName {
            namespace: "stores".to_owned(),
            service: "etcd".to_owned(),
            pod: pod.map(str::to_owned),
            certain: true,
        }
    }

    fn endpoint(pod: &str, ready: bool) -> Value {
        json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "hostname": pod,
            "targetRef": {"kind": "Pod", "name": pod, "namespace": "stores"}})
    }

    fn api(service: &Value, endpoints: &[Value]) -> FakeApi {
        let slice = json!({"metadata": {"name": "etcd-1"}, "addressType": "IPv4",
            "ports": [{"name": "peer", "port": 2380}, {"name": "client", "port": 12379}],
            "endpoints": endpoints});
        FakeApi::script([
            Answer::Json(200, json!({"metadata": {"name": "etcd"}, "spec": service})),
            Answer::Json(200, json!({"metadata": {}, "items": [slice]})),
        ])
    }

    async fn told(api: &FakeApi, pod: Option<&str>) -> Result<Vec<(String, u16)>, String> {
        let found = pods(&api.cluster(), &name(pod), 2379).await;
        let found = found.map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|at| (at.pod, at.port)).collect())
    }

    fn plain() -> Value {
        json!({"clusterIP": "10.9.0.1", "ports": [{"name": "client", "port": 2379}]})
    }

    #[tokio::test]
    async fn ready_pods_are_found_with_their_own_port() {
        let endpoints = vec![
            endpoint("etcd-0", true),
            endpoint("etcd-1", false),
            endpoint("etcd-2", true),
        ];
        let api = api(&plain(), &endpoints);
        let found = told(&api, None).await.expect("two pods");
        assert_eq!(
            found,
            [("etcd-0".to_owned(), 12379), ("etcd-2".to_owned(), 12379)]
        );
        let asked = api.targets();
        assert!(
            asked[1].contains("kubernetes.io%2Fservice-name%3Detcd"),
            "{asked:?}"
        );
    }

    #[tokio::test]
    async fn a_headless_service_gives_one_pod_by_its_name_and_keeps_the_port() {
        let endpoints = vec![endpoint("etcd-0", true), endpoint("etcd-1", true)];
        let api = api(&json!({"clusterIP": "None"}), &endpoints);
        let found = told(&api, Some("etcd-1")).await.expect("one pod");
        assert_eq!(found, [("etcd-1".to_owned(), 2379)]);
    }

    #[tokio::test]
    async fn what_stands_in_the_way_is_named() {
        let outside = json!({"addresses": ["192.0.2.1"], "conditions": {"ready": true}});
        for (service, endpoints, pod, why) in [
            (plain(), vec![], None, "it has no pods"),
            (
                plain(),
                vec![endpoint("etcd-0", false)],
                None,
                "none of its pods is ready",
            ),
            (
                plain(),
                vec![endpoint("etcd-0", true)],
                Some("etcd-7"),
                "pod etcd-7 is not there",
            ),
            (
                plain(),
                vec![endpoint("etcd-7", false)],
                Some("etcd-7"),
                "pod etcd-7 is not ready",
            ),
            (
                plain(),
                vec![outside],
                None,
                "what is behind it are no pods",
            ),
        ] {
            let error = told(&api(&service, &endpoints), pod).await.expect_err(why);
            assert_eq!(
                error,
                format!("service stores/etcd cannot be reached: {why}")
            );
        }
    }

    #[test]
    fn a_port_that_the_service_has_not_is_named() {
        let service = |spec: Value| -> Service {
            serde_json::from_value(json!({"metadata": {}, "spec": spec})).expect("a service")
        };
        let told = way(
            &service(json!({"ports": [{"port": 2380}, {"port": 8080}]})),
            2379,
        );
        assert_eq!(told, Err("it has no port 2379, only 2380, 8080".to_owned()));
        let told = way(&service(json!({"externalName": "etcd.example.com"})), 2379);
        assert!(told.expect_err("no pods").contains("etcd.example.com"));
    }
}
