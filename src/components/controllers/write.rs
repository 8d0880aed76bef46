//! Writes of objects that may have gone or changed since they were read. What that means is said
//! here, once: an object that is gone needs no write; a conflict is an error, so that the work
//! queue brings the key back and the next look decides on what is there now. A write that is given
//! up in silence would leave a status wrong until the object happens to change.

use crate::error::{Error, message_of};
use client::{Api, Codec, is_code};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// The part of the metadata that has to be as it was read for a write to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// The object is the same one: for what only this controller writes.
    Uid,
    /// The object was not written since it was read: for what other clients write, too.
    Version,
}

/// Returns what was written; `None` if the object is gone.
///
/// # Errors
/// [`Error::Conflict`] if the object has changed, or is another one of its name.
pub(crate) fn unless_gone<T>(result: Result<T, kube::Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(written) => Ok(Some(written)),
        Err(error) if is_code(&error, 404) => Ok(None),
        Err(error) if is_code(&error, 409) => Err(Error::Conflict(message_of(&error))),
        Err(error) => Err(error.into()),
    }
}

/// Writes a status if it differs from `old`. Returns whether it was written: false if it is the
/// same or the object is gone.
///
/// # Errors
/// [`Error::Conflict`] if the guard does not hold.
pub(crate) async fn status<K, S>(
    api: &Api<K>,
    meta: &ObjectMeta,
    guard: Guard,
    old: Option<&S>,
    new: &S,
) -> Result<bool, Error>
where
    K: Codec,
    S: Codec + PartialEq,
{
    if old == Some(new) {
        return Ok(false);
    }
    let mut holds = json!({"uid": meta.uid});
    if guard == Guard::Version {
        holds["resourceVersion"] = json!(meta.resource_version);
    }
    let before = old.map(S::encode).transpose()?.unwrap_or_default();
    let patch = Patch::Merge(json!({"metadata": holds, "status": replacing(&before, new.encode()?)}));
    let name = meta.name.as_deref().unwrap_or_default();
    Ok(unless_gone(api.patch_status(name, &PatchParams::default(), &patch).await)?.is_some())
}

/// Pure: the merge patch that puts `new` in the place of `old`. What became zero is left out of the
/// new one and so must be taken out of the stored one: `{a: 2, b: {c: 1}}` becomes `{b: {}}` by
/// `{a: null, b: {c: null}}`.
fn replacing(old: &Value, mut new: Value) -> Value {
    if let (Value::Object(old), Value::Object(new)) = (old, &mut new) {
        for (key, before) in old {
            let after = new.shift_remove(key).map_or(Value::Null, |after| replacing(before, after));
            new.insert(key.clone(), after);
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::{Asked, Scripted, refusal};
    use k8s_openapi::api::core::v1::{Pod, PodStatus};

    #[test]
    fn a_count_that_became_zero_is_taken_out() {
        let patch = |old: Value, new: Value| replacing(&old, new);
        let counts = patch(json!({"replicas": 2, "readyReplicas": 1}), json!({"replicas": 3}));
        assert_eq!(counts, json!({"replicas": 3, "readyReplicas": null}));
        assert_eq!(patch(Value::Null, json!({"replicas": 0})), json!({"replicas": 0}));
        let nested = patch(
            json!({"gone": {"a": "1", "b": "2"}, "list": [1]}),
            json!({"gone": {"a": "1"}, "list": []}),
        );
        assert_eq!(nested, json!({"gone": {"a": "1", "b": null}, "list": []}));
    }

    #[tokio::test]
    async fn a_conflict_comes_back_and_what_is_gone_needs_no_write() {
        for (code, want) in [(200, Ok(true)), (404, Ok(false)), (409, Err("it is another one"))] {
            let answer = move |_: &Asked| match code {
                200 => None,
                code => refusal(code, "it is another one"),
            };
            let server = Scripted::new(answer).await;
            let api = server.client.within::<Pod>("d");
            let meta = ObjectMeta { name: Some("p".into()), uid: Some("u".into()), ..ObjectMeta::default() };
            let new = PodStatus { phase: Some("Running".into()), ..PodStatus::default() };
            let written = status(&api, &meta, Guard::Uid, None, &new).await;
            match (written, want) {
                (Err(Error::Conflict(why)), Err(text)) => assert_eq!(why, text),
                (Ok(got), Ok(want)) => assert_eq!(got, want),
                (got, _) => panic!("{code}: {got:?}"),
            }
            let asked = &server.take()[0];
            assert_eq!(asked.body["metadata"], json!({"uid": "u"}));
            assert!(!status(&api, &meta, Guard::Uid, Some(&new), &new).await.unwrap());
            assert_eq!(server.take().len(), 0, "nothing new, nothing written");
        }
    }
}
