//! Requests about objects without a type. They are compiled here, once; the types come in where an
//! answer is decoded ([`Codec`](super::codec::Codec)).

use super::item::identity;
use super::paths::segment;
use futures::StreamExt;
use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use futures::stream::BoxStream;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{
    ApiResource, DeleteParams, ListParams, ObjectList, PartialObjectMeta, Patch, PatchParams, PostParams,
};
use kube::core::DynamicResourceScope;
use kube::runtime::watcher;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;

/// An object as the API server sends it, or as it is sent there.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub value: Value,
    /// Its [`identity`]: what kube-rs' watcher reads of it.
    meta: ObjectMeta,
}

impl From<Value> for Raw {
    fn from(value: Value) -> Raw {
        Raw { meta: identity(&value), value }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Raw, D::Error> {
        Value::deserialize(input).map(Raw::from)
    }
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(output)
    }
}

impl kube::Resource for Raw {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(dt: &ApiResource) -> Cow<'_, str> {
        dt.kind.as_str().into()
    }
    fn group(dt: &ApiResource) -> Cow<'_, str> {
        dt.group.as_str().into()
    }
    fn version(dt: &ApiResource) -> Cow<'_, str> {
        dt.version.as_str().into()
    }
    fn plural(dt: &ApiResource) -> Cow<'_, str> {
        dt.plural.as_str().into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.meta
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.meta
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, kube::Error>>;

/// Requests about the objects of one kind. Names are escaped here.
#[derive(Clone)]
pub(super) struct Requests(kube::Api<Raw>);

impl Requests {
    /// Makes the requests about objects in one namespace; `None`: in all, or of a cluster-scoped
    /// kind.
    pub(super) fn new(client: kube::Client, namespace: Option<&str>, kind: &ApiResource) -> Requests {
        Requests(match namespace {
            Some(namespace) => kube::Api::namespaced_with(client, &segment(namespace), kind),
            None => kube::Api::all_with(client, kind),
        })
    }

    pub(super) fn path(&self, name: &str) -> String {
        format!("{}/{}", self.0.resource_url(), segment(name))
    }

    /// Returns the events of a list, then those of a watch. No request is sent before the first
    /// event is asked for.
    pub(super) fn events(
        &self,
        config: &watcher::Config,
    ) -> BoxStream<'static, watcher::Result<watcher::Event<Raw>>> {
        watcher(self.0.clone(), config.clone()).boxed()
    }

    pub(super) fn get<'a>(&'a self, name: &str) -> Answer<'a, Raw> {
        let name = segment(name);
        Box::pin(async move { self.0.get(&name).await })
    }

    pub(super) fn get_opt<'a>(&'a self, name: &str) -> Answer<'a, Option<Raw>> {
        let name = segment(name);
        Box::pin(async move { self.0.get_opt(&name).await })
    }

    pub(super) fn get_metadata<'a>(&'a self, name: &str) -> Answer<'a, PartialObjectMeta<Raw>> {
        let name = segment(name);
        Box::pin(async move { self.0.get_metadata(&name).await })
    }

    pub(super) fn list<'a>(&'a self, params: &'a ListParams) -> Answer<'a, ObjectList<Raw>> {
        Box::pin(self.0.list(params))
    }

    pub(super) fn list_metadata<'a>(
        &'a self,
        params: &'a ListParams,
    ) -> Answer<'a, ObjectList<PartialObjectMeta<Raw>>> {
        Box::pin(self.0.list_metadata(params))
    }

    pub(super) fn create<'a>(&'a self, params: &'a PostParams, object: Value) -> Answer<'a, Raw> {
        let object = Raw::from(object);
        Box::pin(async move { self.0.create(params, &object).await })
    }

    pub(super) fn delete<'a>(&'a self, name: &str, params: &'a DeleteParams) -> Answer<'a, ()> {
        let name = segment(name);
        Box::pin(async move { self.0.delete(&name, params).await.map(drop) })
    }

    /// `part`: a subresource, e.g. `status`.
    pub(super) fn patch<'a>(
        &'a self,
        part: Option<&'a str>,
        name: &str,
        params: &'a PatchParams,
        patch: Patch<Value>,
    ) -> Answer<'a, Raw> {
        let name = segment(name);
        Box::pin(async move {
            match part {
                Some(part) => self.0.patch_subresource(part, &name, params, &patch).await,
                None => self.0.patch(&name, params, &patch).await,
            }
        })
    }

    pub(super) fn replace<'a>(
        &'a self,
        part: Option<&'a str>,
        name: &str,
        params: &'a PostParams,
        object: Value,
    ) -> Answer<'a, Raw> {
        let (name, object) = (segment(name), Raw::from(object));
        Box::pin(async move {
            match part {
                Some(part) => self.0.replace_subresource(part, &name, params, &object).await,
                None => self.0.replace(&name, params, &object).await,
            }
        })
    }

    pub(super) fn get_subresource<'a>(&'a self, part: &'a str, name: &str) -> Answer<'a, Raw> {
        let name = segment(name);
        Box::pin(async move { self.0.get_subresource(part, &name).await })
    }

    pub(super) fn create_subresource<'a>(
        &'a self,
        part: &'a str,
        name: &str,
        params: &'a PostParams,
        body: Value,
    ) -> Answer<'a, Raw> {
        let name = segment(name);
        Box::pin(async move { self.0.create_subresource(part, &name, params, &body).await })
    }
}
