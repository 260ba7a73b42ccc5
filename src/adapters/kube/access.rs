//! Which rights are needed, which are missing, and the smallest Role that gives them.
use futures::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{Api, api::PostParams};

use super::{Cluster, KubeError};

/// Reviews in flight: enough to hide the round trips, few enough for a busy API server.
const PARALLEL: usize = 10;

/// One right: this verb on this resource, here.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural resource.
    pub resource: String,
    /// Subresource, such as `scale`.
    pub subresource: Option<String>,
    /// Verb.
    pub verb: String,
    /// Namespace; `None` for a resource without namespaces, or for all namespaces.
    pub namespace: Option<String>,
    /// The one object, if the right is for one only.
    pub name: Option<String>,
}

impl Rule {
    /// A right on all objects of a kind. `resource` may carry a subresource: `statefulsets/scale`.
    #[must_use]
    pub fn new(verb: &str, group: &str, resource: &str, namespace: Option<&str>) -> Self {
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (resource, None),
        };
        Self {
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource,
            verb: verb.to_owned(),
            namespace: namespace.map(ToOwned::to_owned),
            name: None,
        }
    }

    /// The same right on one object only.
    #[must_use]
    pub fn on(self, name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..self
        }
    }

    /// The resource as a Role writes it: `statefulsets/scale`.
    #[must_use]
    pub fn resource_path(&self) -> String {
        match &self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.resource),
            None => self.resource.clone(),
        }
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource_path())?;
        if !self.group.is_empty() {
            write!(f, " ({})", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, " named {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => write!(f, " in the whole cluster"),
        }
    }
}

/// A right that the server does not grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The right.
    pub rule: Rule,
    /// The authoriser's reason; often empty.
    pub reason: String,
}

/// Asks the server for every right; gives back those that are refused, in the order asked.
pub async fn refused_rules(cluster: &Cluster, rules: &[Rule]) -> Result<Vec<Refused>, KubeError> {
    let api: Api<SelfSubjectAccessReview> = cluster.cluster_scoped();
    let reviews: Vec<_> = rules
        .iter()
        .map(|rule| review(api.clone(), rule.clone()))
        .collect();
    let answers: Vec<_> = stream::iter(reviews).buffered(PARALLEL).collect().await;
    let answers: Result<Vec<Option<Refused>>, KubeError> = answers.into_iter().collect();
    Ok(answers?.into_iter().flatten().collect())
}

async fn review(
    api: Api<SelfSubjectAccessReview>,
    rule: Rule,
) -> Result<Option<Refused>, KubeError> {
    let attributes = ResourceAttributes {
        group: Some(rule.group.clone()),
        resource: Some(rule.resource.clone()),
        subresource: rule.subresource.clone(),
        verb: Some(rule.verb.clone()),
        namespace: rule.namespace.clone(),
        name: rule.name.clone(),
        ..ResourceAttributes::default()
    };
    let question = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = api.create(&PostParams::default(), &question).await?;
    let status = answer.status.unwrap_or_default();
    let refused = || Refused {
        rule: rule.clone(),
        reason: status.reason.clone().unwrap_or_default(),
    };
    Ok((!status.allowed).then(refused))
}

#[cfg(test)]
mod tests {
    use super::{
        super::fake::{Answer, FakeApi},
        *,
    };
    use serde_json::json;

    #[tokio::test]
    async fn only_refused_rules_come_back_in_order() {
        let fake = FakeApi::new(|seen| {
            let attributes = &seen.body["spec"]["resourceAttributes"];
            let allowed = attributes["verb"] == "get";
            Answer::Json(
                201,
                json!({"metadata": {}, "spec": {}, "status": {"allowed": allowed, "reason": "no role"}}),
            )
        });
        let rules = [
            Rule::new("get", "", "pods", Some("shop")),
            Rule::new("update", "apps", "statefulsets/scale", Some("shop")).on("orders-db"),
            Rule::new("create", "", "namespaces", None),
        ];
        let refused = refused_rules(&fake.cluster(), &rules)
            .await
            .expect("answers");
        let texts: Vec<String> = refused
            .iter()
            .map(|refused| refused.rule.to_string())
            .collect();
        assert_eq!(
            texts,
            [
                "update statefulsets/scale (apps) named orders-db in namespace shop",
                "create namespaces in the whole cluster"
            ]
        );
        let scale = fake
            .seen()
            .iter()
            .find(|seen| seen.body["spec"]["resourceAttributes"]["subresource"] == "scale")
            .cloned();
        assert_eq!(
            scale.expect("asked").body["spec"]["resourceAttributes"]["name"],
            "orders-db"
        );
    }
}
