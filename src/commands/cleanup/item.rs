//! One object that a cleanup deletes.
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource,
    api::{ApiResource, DeleteParams, DynamicObject, Preconditions},
};

use crate::{
    adapters::kube::{Deleted, KubeError, Wait, delete_and_wait},
    context::Context,
    flags::DryRun,
    steps::Place,
    ui::Removal,
};

/// Objects end in seconds; volumes may be slow.
const GONE: Duration = Duration::from_mins(5);

/// An object that is to be deleted, and no other of the same name.
#[derive(Clone, Debug)]
pub(super) struct Item {
    place: Place,
    resource: ApiResource,
    kind: String,
    name: String,
    uid: String,
    why: String,
}

impl Item {
    /// An object of kind `K`.
    pub(super) fn of<K>(place: &Place, name: &str, uid: &str, why: &str) -> Self
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        let resource = ApiResource::erase::<K>(&());
        Self {
            place: place.clone(),
            kind: resource.kind.to_lowercase(),
            resource,
            name: name.to_owned(),
            uid: uid.to_owned(),
            why: why.to_owned(),
        }
    }

    /// As it is shown before.
    pub(super) fn shown(&self) -> Removal {
        Removal {
            kind: self.kind.clone(),
            namespace: self.place.to_string(),
            name: self.name.clone(),
            why: self.why.clone(),
        }
    }

    /// Deletes it and waits until it is gone; a dry run only tells it, or asks the server too.
    pub(super) async fn delete(&self, cx: &Context, how: DryRun) -> Result<()> {
        let (kind, name) = (&self.kind, &self.name);
        if how == DryRun::Client {
            cx.ui.data(&format!("{kind}/{name} deleted (dry run)"))?;
            return Ok(());
        }
        let dry = how == DryRun::Server;
        let cluster = if dry {
            self.place.cluster.dry_run()
        } else {
            self.place.cluster.clone()
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(cluster.client(), &self.place.namespace, &self.resource);
        if dry {
            let params = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: Some(self.uid.clone()),
                    resource_version: None,
                }),
                ..DeleteParams::background()
            };
            api.delete(name, &params).await.map_err(KubeError::from)?;
            cx.ui
                .data(&format!("{kind}/{name} deleted (server dry run)"))?;
            return Ok(());
        }
        let what = format!("{} to be gone", self.place.object(kind, name));
        let deleted = delete_and_wait(&api, name, Some(&self.uid), &Wait::new(&what, GONE)).await?;
        // A Job takes its pods along, and a StatefulSet may take its claims.
        if deleted == Deleted::Gone {
            cx.ui.data(&format!("{kind}/{name} deleted"))?;
        }
        Ok(())
    }
}
