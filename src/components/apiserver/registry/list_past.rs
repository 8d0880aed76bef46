//! Lists of the past: at a revision that the client names, read from the store itself.
//!
//! The cache has only today's objects. A list with `resourceVersionMatch=Exact`, or one that goes
//! on with a `continue` token, is read from the store in pages ([`Reader`]), and each object is
//! written into the answer as soon as it is decoded ([`Writer`]): only one page is in memory beside
//! the answer.
//!
//! ```text
//! limit=3, labelSelector=app=web, a thousand keys: pages of 3, 6, 12, … keys. If the fifth key of
//! the third page is the third match, the list ends there, and `continue` begins behind that key.
//! ```

use crate::flowcontrol::compute::{LARGE, ListBody, Pace};
use crate::flowcontrol::fair_queue::Permit;
use crate::registry::filter::Filter;
use crate::registry::listing::{encode, hold_memory, looked_at, matching, reserve};
use crate::registry::read::reach;
use crate::request::context::Context;
use crate::request::http::Answer;
use crate::request::list_writer::{self, ListMeta, ListWriter};
use crate::request::negotiate::Form;
use crate::state::State;
use crate::storage::cache::Measure;
use crate::storage::keys::{self, ROOT};
use crate::storage::object::Object;
use crate::storage::store::status_of;
use api::Status;
use api::kinds::Kind;
use bytes::Bytes;
use etcd::api::{KeyValue, RangeRequest};
use std::sync::Arc;

/// How many times as long it takes to decode and check an object as to copy it, about.
const DECODING: usize = 16;
/// Keys of the first page that is read for a list without a limit, at most. Pages double, as
/// upstream's: a selector that matches little costs few of them.
const PAGE: i64 = 500;
/// Keys of any page, at most.
const PAGE_MAX: i64 = 10_000;
/// Bytes of a page, about. How many objects have room in it is estimated from the size of those in
/// the page before; for the first page, from today's objects. A page never has more objects than
/// have been measured so far. Example: pages of a namespace that is empty today have 1, 1, 2, 4
/// objects, because its objects of the past may be of any size; a large object in front of many
/// small ones makes the next page short, and not all pages.
const PAGE_BYTES: usize = 4 << 20;

/// A list of the past, as a request asks for it.
pub(super) struct PastList<'a> {
    pub state: &'a State,
    pub ctx: &'a Context,
    pub kind: &'a Kind,
    pub form: Form,
    pub filter: &'a Filter,
    pub revision: i64,
    /// The key that it begins with, as the cache names it; empty for the first.
    pub start: &'a str,
    /// Objects; 0 for all.
    pub limit: i64,
}

impl PastList<'_> {
    /// Answers the list, once this server has reached its revision: a `continue` token may come
    /// from a server that is ahead of this one (upstream: `waitAndListExactRV`).
    ///
    /// # Errors
    /// 504 for a revision that does not come, 410 for one that the store no longer keeps, 400
    /// for a `continue` token of another namespace, 429 if there is no memory for the answer, 413
    /// if later defaults add too much to a list without a limit.
    pub(super) async fn answer(&self) -> Result<Answer, Status> {
        reach(self.state, self.revision).await?;
        let keys = self.keys()?;
        let forecast = self.forecast().await?;
        let mut reader = Reader::new(self, &keys, &forecast);
        let mut writer = Writer::new(self, &keys, &forecast).await?;
        let mut meta = ListMeta { revision: self.revision, next: String::new(), remaining: None };
        loop {
            let page = reader.next_page().await?;
            writer.cover_page(&page).await?;
            let seen = writer.put_matching(&page).await?;
            let Some(left) = reader.go_on_behind(&seen) else { break };
            if writer.is_full() {
                meta.next = encode(self.revision, keys.name_of(&reader.from));
                meta.remaining = (!self.filter.is_selective()).then_some(left);
                break;
            }
        }
        Ok(hold_memory(self.ctx, writer.list.finish(&meta), writer.memory))
    }

    /// Returns the keys of the list.
    ///
    /// # Errors
    /// 400 for a token that begins in another namespace than that of the request. The token is the
    /// client's: objects of that namespace would be counted.
    fn keys(&self) -> Result<Keys, Status> {
        let within = keys::prefix(&self.filter.namespace);
        if !self.start.is_empty() && !self.start.starts_with(&within) {
            return Err(Status::bad_request("invalid continue token: continue key is not valid"));
        }
        let base = format!("{ROOT}{}/", self.kind.place());
        let prefix = format!("{base}{within}");
        let first = if self.start.is_empty() { prefix.clone() } else { format!("{base}{}", self.start) };
        let end = format!("{}0", &prefix[..prefix.len() - 1]); // '0' follows '/'
        Ok(Keys { base, first, end })
    }

    /// Estimates what the list takes from today's objects: it is not known yet how many there were.
    async fn forecast(&self) -> Result<Forecast, Status> {
        let PastList { state, kind, filter, .. } = *self;
        let most = usize::try_from(self.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let _looking = state.compute.body(&self.ctx.user, looked_at(state, kind, filter)).await?;
        let prefix = keys::prefix(&filter.namespace);
        let Measure { count, objects: all, .. } = state.cache.measure(kind.place(), &prefix);
        let (today, _) = matching(state, kind, filter).await;
        let today: Vec<Arc<Object>> = today.into_iter().map(|(_, object)| object).collect();
        let answer = list_writer::estimate(self.form, &today) / today.len().max(1) * today.len().min(most);
        let each = (all / count.max(1)).max(1);
        // A selector passes over an unknown number of objects before it has found enough.
        let scanned = if filter.is_selective() { all } else { each * count.min(most) };
        Ok(Forecast { answer, scanned, each, count })
    }

    /// Decodes an object of the past: here if it is small, otherwise as all work on large objects.
    ///
    /// # Errors
    /// Those of [`Compute::run`](crate::flowcontrol::compute::Compute::run).
    async fn decode(&self, key: &str, kv: &KeyValue) -> Result<Result<Object, String>, Status> {
        let place = self.kind.place();
        if kv.value.len() <= LARGE {
            return Ok(Object::decode(place, key, &kv.value, kv.mod_revision));
        }
        let (place, key) = (place.to_string(), key.to_string());
        let (value, revision) = (kv.value.clone(), kv.mod_revision);
        let decoding = async move { Ok(Object::decode(&place, &key, &value, revision)) };
        self.state.compute.run(&self.ctx.user, kv.value.len(), self.state.stop.clone(), decoding).await
    }
}

/// The store's keys of a list: `/registry/pods/default/a` to `/registry/pods/default0`.
struct Keys {
    /// What all keys of the kind begin with: `/registry/pods/`.
    base: String,
    first: String,
    /// The first key behind the list.
    end: String,
}

impl Keys {
    /// Returns the key as the cache and the `continue` token name it: `default/a`.
    fn name_of<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix(&self.base).unwrap_or_default()
    }
}

/// Estimates for a list of the past, from today's objects.
struct Forecast {
    /// Bytes of the answer.
    answer: usize,
    /// Bytes of the objects that are looked at for it.
    scanned: usize,
    /// Bytes of one object.
    each: usize,
    /// Today's objects, from which `each` is known.
    count: usize,
}

/// Reads the keys of a list from the store, page by page.
struct Reader<'a> {
    list: &'a PastList<'a>,
    /// The key that the next page begins with.
    from: String,
    end: Bytes,
    /// Keys of the next page, at most.
    page: i64,
    /// Bytes of an object, on average over the page before; at first, over today's objects.
    each: usize,
    /// Objects that have shown how large they are.
    known: usize,
    /// Keys that are left of the range; `None` before the first page. They are counted once: at one
    /// revision there are always as many.
    left: Option<i64>,
}

impl<'a> Reader<'a> {
    fn new(list: &'a PastList<'a>, keys: &Keys, forecast: &Forecast) -> Reader<'a> {
        Reader {
            list,
            from: keys.first.clone(),
            end: Bytes::from(keys.end.clone()),
            page: if list.limit > 0 { list.limit.min(PAGE_MAX) } else { PAGE },
            each: forecast.each,
            known: forecast.count,
            left: None,
        }
    }

    /// Reads a page: as many keys as its limits allow, one at least.
    async fn next_page(&mut self) -> Result<Vec<KeyValue>, Status> {
        let fitting = i64::try_from(self.known.min(PAGE_BYTES / self.each)).unwrap_or(PAGE_MAX);
        let request = RangeRequest {
            key: self.from.clone().into(),
            range_end: self.end.clone(),
            limit: self.page.min(fitting).max(1),
            revision: self.list.revision,
            continued: self.left.is_some(),
            ..Default::default()
        };
        self.page = (self.page * 2).min(PAGE_MAX);
        let response = self.list.state.kv.range(request).await.map_err(|e| match status_of(e) {
            s if s.reason == "Expired" && !self.list.start.is_empty() => Status::expired("The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter."),
            s => s,
        })?;
        self.each = (bytes_of(&response.kvs) / response.kvs.len().max(1)).max(1);
        self.known += response.kvs.len();
        self.left.get_or_insert(response.count);
        Ok(response.kvs)
    }

    /// Lets the next page begin behind the keys that were looked at. Returns how many keys are
    /// left; `None` at the end of the list.
    fn go_on_behind(&mut self, seen: &Seen) -> Option<i64> {
        let left = self.left.unwrap_or_default() - seen.count;
        self.left = Some(left);
        if left <= 0 || seen.last.is_empty() {
            return None;
        }
        self.from = format!("{}\0", seen.last);
        Some(left)
    }
}

/// Keys of a page that were looked at: all of them, unless the list was full before.
#[derive(Default)]
struct Seen {
    count: i64,
    last: String,
}

/// Writes the objects that match into the answer, within the memory that the answer may take.
struct Writer<'a> {
    of: &'a PastList<'a>,
    keys: &'a Keys,
    list: ListWriter<'a>,
    memory: ListBody,
    /// Held while a long list is worked on.
    turn: Option<Permit>,
    /// Bytes that were read for the list.
    work: usize,
    /// Objects in the answer.
    taken: i64,
    pace: Pace,
}

impl<'a> Writer<'a> {
    /// Waits for the memory that the list takes. One page is in memory beside the answer, and all
    /// that is looked at is work, whether it matches or not.
    async fn new(of: &'a PastList<'a>, keys: &'a Keys, forecast: &Forecast) -> Result<Writer<'a>, Status> {
        let bytes = forecast.answer + forecast.scanned.min(PAGE_BYTES);
        let (memory, turn) = reserve(of.state, of.ctx, bytes, forecast.scanned).await?;
        let room = if of.form == Form::Object { forecast.answer } else { 0 };
        let list = ListWriter::new(of.kind, of.form, room);
        Ok(Writer { of, keys, list, memory, turn, work: 0, taken: 0, pace: Pace::default() })
    }

    /// Counts a page that was read. If the pages have more than was estimated from today's objects,
    /// it waits for a turn.
    async fn cover_page(&mut self, page: &[KeyValue]) -> Result<(), Status> {
        let read = bytes_of(page);
        self.memory.cover(self.list.written() + read)?;
        self.work += read;
        if self.turn.is_none() {
            self.turn = self.of.state.compute.list(&self.of.ctx.user, self.work).await;
        }
        Ok(())
    }

    /// Puts the objects of a page that match into the answer, until it is full. What cannot be
    /// decoded is left out; the log has a line of the cache about it.
    async fn put_matching(&mut self, page: &[KeyValue]) -> Result<Seen, Status> {
        let read = bytes_of(page);
        let mut seen = Seen::default();
        for kv in page {
            if self.is_full() {
                break;
            }
            seen.count += 1;
            seen.last = String::from_utf8_lossy(&kv.key).into_owned();
            if let Ok(object) = self.of.decode(self.keys.name_of(&seen.last), kv).await?
                && self.of.filter.matches(&object.value)
            {
                self.list.put(&object).await;
                self.memory.cover(self.list.written() + read)?;
                self.taken += 1;
                if self.of.limit == 0 && self.list.is_full_of_defaults() {
                    return Err(list_writer::too_many_defaults(self.of.kind));
                }
            }
            let here = if kv.value.len() <= LARGE { kv.value.len() } else { 0 };
            self.pace.step(here.saturating_mul(DECODING)).await;
        }
        Ok(seen)
    }

    fn is_full(&self) -> bool {
        self.of.limit > 0 && (self.taken >= self.of.limit || self.list.is_full_of_defaults())
    }
}

fn bytes_of(page: &[KeyValue]) -> usize {
    page.iter().map(|kv| kv.value.len()).sum()
}

#[cfg(test)]
mod tests {
    use crate::testing::Api;
    use serde_json::json;

    const MAPS: &str = "/api/v1/namespaces/default/configmaps";

    /// The first page may come from another server, which is ahead of this one.
    #[tokio::test]
    async fn a_list_waits_for_a_revision_that_is_on_its_way() {
        let api = Api::bare().await;
        let next = api.state().kv.revision() + 1;
        let path = format!("{MAPS}?resourceVersion={next}&resourceVersionMatch=Exact");
        let making = api.made(MAPS, json!({"metadata": {"name": "a"}}));
        let ((code, list), _) = tokio::join!(api.get(&path), making);
        assert_eq!(code, 200, "{list}");
    }
}
