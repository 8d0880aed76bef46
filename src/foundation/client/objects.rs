//! Requests about the objects of one kind, with every name escaped.

use super::answers::is_code;
use super::codec::Codec;
use super::item::Item;
use super::raw::{Raw, Requests};
use super::reflector::decoded;
use kube::api::{
    ApiResource, DeleteParams, ListParams, ObjectList, PartialObjectMeta, Patch, PatchParams, PostParams,
    Resource,
};
use kube::core::{DynamicResourceScope, Status};
use kube::runtime::watcher;
use serde::Serialize;
use serde::de::Error as _;
use serde_json::Value;
use std::marker::PhantomData;

/// kube-rs' [`kube::Api`], with each namespace and name escaped as one segment of the request's
/// path ([`segment`](super::segment)). kube-rs puts a name there as it is: a GET of the Secret `x?`
/// or `x#y`, which a pod may name as its volume, would read `x`, that of `../../configmaps/x`
/// another kind, and that of `my x` could not be sent at all. The parameters and the answers are
/// kube-rs' own, and so are the errors: those of the request.
pub struct Api<K> {
    requests: Requests,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Api<K> {
    fn clone(&self) -> Api<K> {
        Api { requests: self.requests.clone(), kind: PhantomData }
    }
}

impl<K: Resource> Api<K> {
    /// Makes the requests for objects of a kind in all namespaces, or of a cluster-scoped kind.
    pub fn all_with(client: kube::Client, kind: &K::DynamicType) -> Api<K> {
        Api::new(client, None, kind)
    }

    /// Makes the requests for objects of a kind that is known at run time only, in one namespace.
    pub fn namespaced_with(client: kube::Client, namespace: &str, kind: &K::DynamicType) -> Api<K>
    where
        K: Resource<Scope = DynamicResourceScope>,
    {
        Api::new(client, Some(namespace), kind)
    }

    pub(super) fn new(client: kube::Client, namespace: Option<&str>, kind: &K::DynamicType) -> Api<K> {
        let kind = ApiResource::erase::<K>(kind);
        Api { requests: Requests::new(client, namespace, &kind), kind: PhantomData }
    }

    /// Returns the path of an object, for requests that this type does not have.
    pub fn path(&self, name: &str) -> String {
        self.requests.path(name)
    }
}

impl<K> Api<K> {
    /// Returns the requests without the type: for a watch.
    pub(super) fn requests(&self) -> Requests {
        self.requests.clone()
    }
}

/// Decodes the object of an answer.
fn decode<K: Codec>(answer: Raw) -> Result<K, kube::Error> {
    K::decode(&answer.value).map_err(kube::Error::SerdeError)
}

/// Encodes the object of a request.
fn encode(object: &impl Codec) -> Result<Value, kube::Error> {
    object.encode().map_err(kube::Error::SerdeError)
}

/// Returns a list of what `convert` makes of each item.
///
/// # Errors
/// The first one of `convert`.
fn convert_list<T: Clone, K: Clone>(
    list: ObjectList<T>,
    convert: impl Fn(T) -> Result<K, kube::Error>,
) -> Result<ObjectList<K>, kube::Error> {
    let ObjectList { types, metadata, items } = list;
    Ok(ObjectList { types, metadata, items: items.into_iter().map(convert).collect::<Result<_, _>>()? })
}

/// Returns the metadata of an object of the type `K`.
fn metadata_of<K>(answer: PartialObjectMeta<Raw>) -> PartialObjectMeta<K> {
    let PartialObjectMeta { types, metadata, _phantom } = answer;
    PartialObjectMeta { types, metadata, _phantom: PhantomData }
}

/// Returns a patch whose body is a value.
fn untyped<P: Serialize>(patch: &Patch<P>) -> Result<Patch<Value>, kube::Error> {
    let value = |body: &P| serde_json::to_value(body).map_err(kube::Error::SerdeError);
    Ok(match patch {
        Patch::Apply(body) => Patch::Apply(value(body)?),
        Patch::Json(changes) => Patch::Json(changes.clone()),
        Patch::Merge(body) => Patch::Merge(value(body)?),
        Patch::Strategic(body) => Patch::Strategic(value(body)?),
        _ => return Err(kube::Error::SerdeError(serde_json::Error::custom("an unknown kind of patch"))),
    })
}

/// Objects of a page: as many as an informer asks for.
const PAGE: u32 = 500;

/// Pages of a list at most, and answers that it takes: those of two million objects. The largest
/// clusters that Kubernetes is made for have 150 000 pods. A server that Ropewalk did not start may
/// send pages without end.
const PAGES_MAX: usize = 4000;
/// Objects of such a list.
pub(super) const OBJECTS_MAX: usize = PAGES_MAX * PAGE as usize;

/// A list that is read in pages. The API server refuses a list of whole objects without a limit
/// (413) if the defaults of a custom kind would make it too large, and splits one with a limit.
struct Pages<T: Clone> {
    /// What was asked, without a limit.
    asked: ListParams,
    /// The request of the next page.
    next: ListParams,
    /// The pages so far.
    read: Option<ObjectList<T>>,
    /// Answers so far.
    answers: usize,
}

impl<T: Clone> Pages<T> {
    fn new(asked: &ListParams) -> Pages<T> {
        Pages { asked: asked.clone(), next: asked.clone().limit(PAGE), read: None, answers: 0 }
    }

    /// Takes over the answer to [`Pages::next`]. Returns the list after its last page. If the store
    /// has compacted the revision of the first pages, the next request is for the whole list, as
    /// with client-go's `ListPager`.
    ///
    /// # Errors
    /// Of the request; the list does not end.
    fn take(
        &mut self,
        answer: Result<ObjectList<T>, kube::Error>,
    ) -> Result<Option<ObjectList<T>>, kube::Error> {
        self.answers += 1;
        if self.answers > PAGES_MAX {
            return Err(endless(format!("it has more than {PAGES_MAX} pages")));
        }
        let page = match answer {
            Err(error) if self.read.is_some() && is_code(&error, 410) => {
                (self.read, self.next) = (None, self.asked.clone());
                return Ok(None);
            }
            answer => answer?,
        };
        let token = page.metadata.continue_.clone().filter(|token| !token.is_empty());
        let mut list = match self.read.take() {
            Some(mut list) => {
                list.items.extend(page.items);
                list
            }
            None => page,
        };
        let Some(token) = token else {
            list.metadata.continue_ = None;
            list.metadata.remaining_item_count = None;
            return Ok(Some(list));
        };
        if self.next.continue_token.as_ref() == Some(&token) {
            return Err(endless("a page has the continue token of the page before".into()));
        }
        self.next = self.asked.clone().limit(PAGE).continue_token(&token);
        self.read = Some(list);
        Ok(None)
    }
}

/// Makes the error of a reflector's list that has more than `most` objects. As a refusal it is not
/// asked for again at once, and then from its beginning.
pub(super) fn too_many_objects(most: usize) -> watcher::Error {
    let message = format!("the server's list has no end: it has more than {most} objects");
    let status = Status { code: 413, reason: "RequestEntityTooLarge".into(), message, ..Status::default() };
    watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
}

/// Makes the error of a list that its server does not end.
fn endless(why: String) -> kube::Error {
    let why = format!("the server's list has no end: {why}");
    kube::Error::SerdeError(serde_json::Error::custom(why))
}

impl<K: Codec> Api<K> {
    /// Gets an object.
    ///
    /// # Errors
    /// Of the request; 404 if there is no such object ([`crate::optional`]).
    pub async fn get(&self, name: &str) -> Result<K, kube::Error> {
        decode(self.requests.get(name).await?)
    }

    /// Gets an object, or `None` if there is none.
    ///
    /// # Errors
    /// Of the request.
    pub async fn get_opt(&self, name: &str) -> Result<Option<K>, kube::Error> {
        self.requests.get_opt(name).await?.map(decode).transpose()
    }

    /// Lists objects.
    ///
    /// # Errors
    /// Of the request.
    pub async fn list(&self, params: &ListParams) -> Result<ObjectList<K>, kube::Error>
    where
        K: Clone,
    {
        convert_list(self.requests.list(params).await?, decode)
    }

    /// Creates an object, whose name is in `object`.
    ///
    /// # Errors
    /// Of the request; 409 if there is one of that name.
    pub async fn create(&self, params: &PostParams, object: &K) -> Result<K, kube::Error> {
        decode(self.requests.create(params, encode(object)?).await?)
    }

    /// Patches an object.
    ///
    /// # Errors
    /// Of the request; 404 if there is no such object.
    pub async fn patch<P: Serialize>(
        &self,
        name: &str,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<K, kube::Error> {
        decode(self.requests.patch(None, name, params, untyped(patch)?).await?)
    }

    /// Patches the status of an object.
    ///
    /// # Errors
    /// As [`Api::patch`].
    pub async fn patch_status<P: Serialize>(
        &self,
        name: &str,
        params: &PatchParams,
        patch: &Patch<P>,
    ) -> Result<K, kube::Error> {
        decode(self.requests.patch(Some("status"), name, params, untyped(patch)?).await?)
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// Of the request; 409 if another client wrote it since it was read.
    pub async fn replace(&self, name: &str, params: &PostParams, object: &K) -> Result<K, kube::Error> {
        decode(self.requests.replace(None, name, params, encode(object)?).await?)
    }

    /// Replaces the status of an object.
    ///
    /// # Errors
    /// As [`Api::replace`].
    pub async fn replace_status(
        &self,
        name: &str,
        params: &PostParams,
        object: &K,
    ) -> Result<K, kube::Error> {
        self.replace_subresource("status", name, params, object).await
    }

    /// Gets a subresource of an object, e.g. `scale`.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn get_subresource(&self, part: &str, name: &str) -> Result<K, kube::Error> {
        decode(self.requests.get_subresource(part, name).await?)
    }

    /// Replaces a subresource of an object, e.g. `approval`.
    ///
    /// # Errors
    /// As [`Api::replace`].
    pub async fn replace_subresource(
        &self,
        part: &str,
        name: &str,
        params: &PostParams,
        body: &impl Codec,
    ) -> Result<K, kube::Error> {
        decode(self.requests.replace(Some(part), name, params, encode(body)?).await?)
    }
}

impl<K> Api<K> {
    /// Gets the metadata of an object.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn get_metadata(&self, name: &str) -> Result<PartialObjectMeta<K>, kube::Error> {
        self.requests.get_metadata(name).await.map(metadata_of)
    }

    /// Lists the metadata of objects.
    ///
    /// # Errors
    /// Of the request.
    pub async fn list_metadata(
        &self,
        params: &ListParams,
    ) -> Result<ObjectList<PartialObjectMeta<K>>, kube::Error>
    where
        K: Clone,
    {
        convert_list(self.requests.list_metadata(params).await?, |item| Ok(metadata_of(item)))
    }

    /// Deletes an object, or marks it as being deleted.
    ///
    /// # Errors
    /// Of the request; 404 if there is no such object, 409 if a precondition does not hold.
    pub async fn delete(&self, name: &str, params: &DeleteParams) -> Result<(), kube::Error> {
        self.requests.delete(name, params).await
    }

    /// Creates a subresource of an object, e.g. `token`.
    ///
    /// # Errors
    /// As [`Api::create`].
    pub async fn create_subresource<T: Codec>(
        &self,
        part: &str,
        name: &str,
        params: &PostParams,
        body: &impl Codec,
    ) -> Result<T, kube::Error> {
        decode(self.requests.create_subresource(part, name, params, encode(body)?).await?)
    }
}

impl<K: Codec + Clone> Api<Item<K>> {
    /// Lists all objects, in pages, without those that cannot be decoded, as
    /// [`Reflector::next_decoded`](crate::Reflector::next_decoded) does: the log names each, with
    /// `kind`. One such object does not hide the others of its list.
    ///
    /// # Errors
    /// Of a request; the server's list has no end.
    pub async fn list_decoded(&self, kind: &str, params: &ListParams) -> Result<ObjectList<K>, kube::Error> {
        let mut pages = Pages::new(params);
        loop {
            let answer = self.list(&pages.next).await;
            if let Some(ObjectList { types, metadata, items }) = pages.take(answer)? {
                let items = items.into_iter().filter_map(|item| decoded(kind, item)).collect();
                return Ok(ObjectList { types, metadata, items });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Log, Scripted, refusal};
    use k8s_openapi::api::core::v1::Secret;
    use kube::api::{ApiResource, DynamicObject};
    use serde_json::json;

    #[tokio::test]
    async fn a_name_is_never_more_than_one_segment_of_the_path() {
        let server = Scripted::new(|_| refusal(404, "NotFound")).await;
        let api = server.client.within::<Secret>("a/b");
        let (name, patch) = ("x?#/ y", Patch::Merge(json!({})));
        let (gone, write, change) = (DeleteParams::default(), PostParams::default(), PatchParams::default());
        let object = Secret::default();
        assert!(crate::is_code(&api.get(name).await.unwrap_err(), 404));
        assert!(api.get_opt(name).await.unwrap().is_none());
        assert!(api.get_metadata(name).await.is_err());
        assert!(api.delete(name, &gone).await.is_err());
        assert!(api.patch(name, &change, &patch).await.is_err());
        assert!(api.patch_status(name, &change, &patch).await.is_err());
        assert!(api.get_subresource("scale", name).await.is_err());
        assert!(api.replace_subresource("approval", name, &write, &object).await.is_err());
        assert!(api.create_subresource::<Secret>("token", name, &write, &object).await.is_err());
        let path = "/api/v1/namespaces/a%2Fb/secrets/x%3F%23%2F%20y";
        let lines = server.lines();
        assert_eq!(lines.len(), 9, "each was sent: {lines:?}");
        assert!(lines.iter().all(|line| line.split_once(' ').unwrap().1.starts_with(path)), "{lines:?}");
        assert_eq!(api.path(name), path);
        let kind = ApiResource::erase::<Secret>(&());
        let untyped = Api::<DynamicObject>::namespaced_with(server.client.kube(), "a/b", &kind);
        assert_eq!(untyped.path(name), path);
    }

    #[test]
    fn a_page_is_asked_for_with_a_limit_and_the_token_of_the_page_before() {
        let asked = ListParams::default().at("7").labels("a=b");
        let mut pages = Pages::<DynamicObject>::new(&asked);
        assert_eq!(pages.next, asked.clone().limit(PAGE));
        let page = |token: &str| {
            let metadata = json!({"resourceVersion": "7", "continue": token, "remainingItemCount": 1});
            Ok(serde_json::from_value(json!({"metadata": metadata, "items": [{"metadata": {}}]})).unwrap())
        };
        assert!(pages.take(page("c")).unwrap().is_none());
        assert_eq!(pages.next, asked.limit(PAGE).continue_token("c"));
        let list = pages.take(page("")).unwrap().unwrap();
        assert_eq!((list.items.len(), list.metadata.continue_), (2, None));
        assert_eq!(list.metadata.remaining_item_count, None, "that of the first page");
    }

    /// The cluster may be one of others, with whatever server.
    #[test]
    fn a_list_whose_pages_have_no_end_is_given_up() {
        let page = |token: &str| {
            let metadata = json!({"resourceVersion": "7", "continue": token});
            serde_json::from_value::<ObjectList<DynamicObject>>(json!({"metadata": metadata, "items": []}))
                .map_err(kube::Error::SerdeError)
        };
        let pages = || Pages::<DynamicObject>::new(&ListParams::default());
        let mut same = pages();
        assert!(same.take(page("c")).unwrap().is_none());
        let why = same.take(page("c")).err().unwrap();
        assert!(why.to_string().contains("the continue token of the page before"), "{why}");
        assert!(!crate::is_unanswered(&why), "it would be asked again at once");
        let mut ever = pages();
        let taken = (0..).map(|number| ever.take(page(&format!("c{number}")))).take_while(Result::is_ok);
        assert_eq!(taken.count(), PAGES_MAX);
    }

    #[tokio::test]
    async fn a_reflector_gives_up_a_list_without_an_end_and_begins_again() {
        let item = |name: &str| {
            let object = json!({"metadata": {"name": name, "namespace": "d"}});
            Raw::from(object)
        };
        let objects = ["a", "b", "c"].map(|name| Ok(watcher::Event::InitApply(item(name))));
        let mut events = vec![Ok(watcher::Event::Init)];
        events.extend(objects);
        events.extend([Ok(watcher::Event::Init), Ok(watcher::Event::InitApply(item("a")))]);
        events.push(Ok(watcher::Event::InitDone));
        let events = futures::stream::iter(events);
        let mut reflector = crate::Reflector::<DynamicObject>::over("Pod", events).at_most(2);
        let why = reflector.next().await.unwrap().err().unwrap().to_string();
        assert!(why.contains("it has more than 2 objects"), "{why}");
        match reflector.next().await {
            Some(Ok(crate::Delta::Replaced(all))) => assert_eq!(all.len(), 1),
            _ => panic!("the next list is whole"),
        }
    }

    /// Between two pages the store may compact the revision of the list: then it is read at once.
    #[tokio::test]
    async fn a_list_of_several_pages_is_read_to_its_end() {
        let page = |name: &str, token: &str| {
            let metadata = json!({"resourceVersion": "7", "continue": token});
            Some((200, json!({"metadata": metadata, "items": [{"metadata": {"name": name}}]})))
        };
        let expired = || refusal(410, "Expired");
        for (second, third, want) in [
            (page("b", ""), None, Some(vec!["a", "b"])),
            (expired(), page("whole", ""), Some(vec!["whole"])),
            (expired(), expired(), None),
        ] {
            let answers = parking_lot::Mutex::new(vec![third, second, page("a", "c")]);
            let server = Scripted::new(move |_| answers.lock().pop().flatten()).await;
            let kind = ApiResource::erase::<Secret>(&());
            let api = Api::<Item<DynamicObject>>::all_with(server.client.kube(), &kind);
            let found = api.list_decoded("Secret", &ListParams::default()).await.ok();
            let names = found.as_ref().map(|found| {
                found.items.iter().filter_map(|o| o.metadata.name.as_deref()).collect::<Vec<_>>()
            });
            assert_eq!(names, want);
        }
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_decoded_does_not_hide_the_others_of_its_list() {
        let list = json!({"metadata": {"resourceVersion": "7"}, "items": [
            {"metadata": {"name": "bad", "namespace": "d", "labels": 5}}, {"metadata": {"name": "good"}}]});
        let server = Scripted::new(move |_| Some((200, list.clone()))).await;
        let kind = ApiResource::erase::<Secret>(&());
        let api = Api::<Item<DynamicObject>>::all_with(server.client.kube(), &kind);
        let log = Log::default();
        let guard = log.listen();
        let found = api.list_decoded("Secret", &ListParams::default()).await.unwrap();
        drop(guard);
        let names: Vec<Option<&str>> = found.items.iter().map(|o| o.metadata.name.as_deref()).collect();
        assert_eq!((names, found.metadata.resource_version.as_deref()), (vec![Some("good")], Some("7")));
        assert!(log.warnings().iter().any(|text| text.contains("d/bad")), "{:?}", log.warnings());
    }
}
