//! Who uses a claim, our own movers left out.
use k8s_openapi::api::core::v1::Pod;

use super::{Place, inventory::uses};
use crate::{
    adapters::kube::{KubeError, Selector, list_all},
    engine::{Check, Failure, Kind},
    marks::Belongs,
};

/// The pods of one side, without the migration's own movers.
#[derive(Debug)]
pub(super) struct Users<'a> {
    place: &'a Place,
    pods: Vec<Pod>,
}

impl<'a> Users<'a> {
    /// Looks at the pods that are there now.
    pub(super) async fn now(place: &'a Place, belongs: &Belongs) -> Result<Self, KubeError> {
        let mut pods: Vec<Pod> = list_all(&place.api(), &Selector::all()).await?;
        pods.retain(|pod| !belongs.is_mover(&pod.metadata));
        Ok(Self { place, pods })
    }

    /// The pods that use a claim and have not ended, by name, with their nodes.
    fn of<'s>(&'s self, claim: &'s str) -> impl Iterator<Item = (&'s str, Option<&'s str>)> {
        let users = self.pods.iter().filter(move |pod| uses(pod, claim));
        users.map(|pod| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            (pod.metadata.name.as_deref().unwrap_or_default(), node)
        })
    }

    /// The nodes on which a claim is used.
    pub(super) fn nodes<'s>(&'s self, claim: &'s str) -> impl Iterator<Item = &'s str> {
        self.of(claim).filter_map(|(_, node)| node)
    }

    /// The first pod that uses a claim, for people.
    pub(super) fn first(&self, claim: &str) -> Option<String> {
        let (pod, _) = self.of(claim).next()?;
        Some(self.place.object("pod", pod))
    }

    /// Forbids to write to a target claim that somebody uses: a round deletes what the source does not have.
    pub(super) fn check(&self, claim: &str) -> Option<Check> {
        let pod = self.first(claim)?;
        Some(Check::block(
            "target volume",
            self.place.object("persistentvolumeclaim", claim),
            format!("{pod} uses it, and its files would be deleted"),
            "stop that pod, or let the plan name another target",
        ))
    }

    /// The same for work that has begun.
    pub(super) fn refuse<'c>(&self, claims: impl Iterator<Item = &'c str>) -> Result<(), Failure> {
        for claim in claims {
            if let Some(pod) = self.first(claim) {
                let object = self.place.object("persistentvolumeclaim", claim);
                let why = format!(
                    "{pod} uses {object}, and its files would be deleted: stop that pod, then give the command again"
                );
                return Err(Failure::new(Kind::Blocked, why));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        adapters::kube::fake::{Answer, FakeApi},
        marks::{HOME, MIGRATION, ROLE},
    };
    use serde_json::{Value, json};

    /// The migration `m` of namespace `shop`.
    pub(in crate::steps) fn belongs() -> Belongs {
        Belongs {
            migration: "m".to_owned(),
            home: "shop".to_owned(),
            run: "r1".to_owned(),
        }
    }

    /// Namespace `shop` with these pods, and nothing else.
    pub(in crate::steps) fn place_with(pods: Value) -> Place {
        let fake = FakeApi::new(move |_| {
            Answer::Json(
                200,
                json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods}),
            )
        });
        shop(&fake)
    }

    /// Namespace `shop` of a fake cluster.
    pub(in crate::steps) fn shop(fake: &FakeApi) -> Place {
        Place {
            cluster: fake.cluster(),
            namespace: "shop".to_owned(),
            remote: false,
        }
    }

    /// A pod that runs on node `n1` and mounts the claim `data`.
    pub(in crate::steps) fn user(name: &str, labels: &Value) -> Value {
        json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"nodeName": "n1", "containers": [],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]},
            "status": {"phase": "Running"},
        })
    }

    #[tokio::test]
    async fn a_pod_of_somebody_else_is_named_and_own_movers_and_ended_pods_are_not() {
        let mover = |migration| json!({MIGRATION: migration, HOME: "shop", ROLE: "mover-target"});
        let mut ended = user("ended", &json!({}));
        ended["status"]["phase"] = json!("Succeeded");
        let own = user("own", &mover("m"));
        let place = place_with(json!([own, ended]));
        let users = Users::now(&place, &belongs()).await.expect("a list");
        assert_eq!(users.check("data"), None);
        assert!(users.refuse(["data"].into_iter()).is_ok());

        let place = place_with(json!([own, ended, user("other", &mover("other"))]));
        let users = Users::now(&place, &belongs()).await.expect("a list");
        let check = users.check("data").expect("a check");
        assert_eq!(
            check.evidence,
            "pod shop/other uses it, and its files would be deleted"
        );
        assert_eq!(users.check("log"), None);
        let refused = users.refuse(["log", "data"].into_iter());
        assert_eq!(
            refused.map_err(|failure| failure.message),
            Err("pod shop/other uses persistentvolumeclaim shop/data, and its files would be deleted: stop that pod, then give the command again".to_owned())
        );
    }

    #[tokio::test]
    async fn the_claim_of_an_ephemeral_volume_is_used_by_its_pod() {
        let mut pod = user("cache", &json!({}));
        pod["spec"]["volumes"] = json!([{"name": "data", "ephemeral": {}}]);
        let place = place_with(json!([pod]));
        let users = Users::now(&place, &belongs()).await.expect("a list");
        assert_eq!(users.nodes("cache-data").collect::<Vec<_>>(), ["n1"]);
        assert_eq!(users.first("data"), None);
    }
}
