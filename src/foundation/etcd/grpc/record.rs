//! Records of what clients outside of the cluster ask a member for: `etcdctl`, for example. The API
//! server calls the store within the program, and has records of its own.
//!
//! ```text
//! etcdctl put foo hello      {"method":"put","key":"foo","count":1,"revision":812,...}
//! etcdctl get --prefix fo    {"method":"get","key":"fo","end":"fp","count":1,"revision":812,...}
//! ```

use super::super::api::WatchRequest;
use super::super::pb;
use super::face::Face;
use std::sync::Arc;
use tap::{Call, Event, Record};
use tonic::Status;

/// Bytes of a key that a record tells. Clients choose keys, and may make them very long.
const KEY_MAX: usize = 256;
/// Changes that the record of one response of a watch tells, the first ones.
const EVENTS_MAX: usize = 20;

/// The end of a range that has none, for etcd and in a record.
const NO_END: &[u8] = &[0];
const GREATEST: &str = "\u{10FFFF}";

/// The error of a call whose client did not wait for the answer, in the words of Go.
const CANCELED: &str = "context canceled";

/// Returns what is known of a call before it is answered.
pub(super) fn call(method: &str, key: &[u8], end: &[u8]) -> Call {
    let end = if end == NO_END { GREATEST.into() } else { text(end) };
    // No key is the first that there can be.
    let key = if key == NO_END { String::new() } else { text(key) };
    Call { method: method.into(), key, end, ..Call::default() }
}

/// Returns what is recorded of the changes that a watch sends.
pub(super) fn watch_call(request: &WatchRequest, revision: i64, events: &[pb::Event]) -> Call {
    let change = |event: &pb::Event| {
        let kind = if event.kind == 0 { "PUT" } else { "DELETE" };
        format!("{kind} {}", event.kv.as_ref().map_or_else(String::new, |kv| text(&kv.key)))
    };
    Call {
        count: events.len() as i64,
        revision,
        events: events.iter().take(EVENTS_MAX).map(change).collect(),
        ..call("watch", &request.key, &request.range_end)
    }
}

fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(&key[..key.len().min(KEY_MAX)]).into_owned()
}

/// Returns the revision of an answer.
fn revision(header: Option<&pb::ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

/// A call that is being answered. One that is dropped before it is [`answered`](Asked::answered) is
/// recorded, too: its client waits no longer, and a put may still be applied.
struct Asked {
    face: Arc<Face>,
    call: Option<Call>,
}

impl Asked {
    /// Records the call. `answer`: as [`Face::record`] takes it.
    fn answered(mut self, answer: Result<(i64, i64), &Status>) {
        if let Some(call) = self.call.take() {
            self.face.record(call, answer);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(call) = self.call.take() {
            self.face.record(call, Err(&Status::cancelled(CANCELED)));
        }
    }
}

impl Face {
    fn asked(self: &Arc<Self>, call: Call) -> Asked {
        Asked { face: self.clone(), call: Some(call) }
    }

    /// Records a call. `answer`: the revision of the answer and how many keys it is about, or why
    /// the call was refused.
    pub(super) fn record(&self, call: Call, answer: Result<(i64, i64), &Status>) {
        self.emit(match answer {
            Ok((revision, count)) => Call { revision, count, ..call },
            Err(status) => Call { error: status.message().into(), ..call },
        });
    }

    /// Adds the record to those of reads, of which there is a share: a client that calls all the
    /// time takes no records from the cluster.
    pub(super) fn emit(&self, call: Call) {
        self.tap.emit_read(Record::new(Event::Call(call)));
    }

    pub(super) async fn record_range(
        self: Arc<Self>,
        r: pb::RangeRequest,
    ) -> Result<pb::RangeResponse, Status> {
        // Revision 0 is the store as it is now, and so is a negative one.
        let past = Some(r.revision).filter(|revision| *revision > 0);
        let asked = self.asked(Call { past, ..call("get", &r.key, &r.range_end) });
        let answer = self.range(r).await;
        // Not the `count` of the answer: that has also the keys behind a limit, and those that are
        // only counted.
        let counted = answer.as_ref().map(|a| (revision(a.header.as_ref()), a.kvs.len() as i64));
        asked.answered(counted);
        answer
    }

    pub(super) async fn record_put(self: Arc<Self>, r: pb::PutRequest) -> Result<pb::PutResponse, Status> {
        let asked = self.asked(call("put", &r.key, &[]));
        let answer = self.put(r).await;
        asked.answered(answer.as_ref().map(|a| (revision(a.header.as_ref()), 1)));
        answer
    }

    pub(super) async fn record_delete_range(
        self: Arc<Self>,
        r: pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Status> {
        let asked = self.asked(call("del", &r.key, &r.range_end));
        let answer = self.delete_range(r).await;
        asked.answered(answer.as_ref().map(|a| (revision(a.header.as_ref()), a.deleted)));
        answer
    }

    pub(super) async fn record_txn(self: Arc<Self>, r: pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        let asked = self.asked(call("txn", &[], &[]));
        let answer = self.txn(r).await;
        let counted = answer.as_ref().map(|a| (revision(a.header.as_ref()), a.responses.len() as i64));
        asked.answered(counted);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzz::{One, framed};
    use super::*;
    use prost::Message;
    use std::time::Duration;
    use tonic::Code;

    /// Returns what `One` has recorded of calls, oldest first.
    fn calls(one: &One) -> Vec<Call> {
        let of = |record: &Arc<Record>| match &record.event {
            Event::Call(call) => Some(call.clone()),
            _ => None,
        };
        one.face.tap.since(0).iter().filter_map(of).collect()
    }

    #[test]
    fn a_client_s_calls_are_recorded_without_values() {
        let one = One::start();
        let ask = |method: &str, message: Vec<u8>| {
            one.ask(&format!("etcdserverpb.KV/{method}"), framed(&message)).code()
        };
        let put = pb::PutRequest { key: "foo".into(), value: "secret".into(), ..Default::default() };
        let prefix = pb::RangeRequest { key: "fo".into(), range_end: "fp".into(), ..Default::default() };
        let all = pb::RangeRequest { key: NO_END.into(), range_end: NO_END.into(), ..Default::default() };
        let delete = pb::DeleteRangeRequest { key: "foo".into(), ..Default::default() };
        let nothing = pb::PutRequest::default();
        assert_eq!(ask("Put", put.encode_to_vec()), Code::Ok);
        assert_eq!(ask("Range", prefix.encode_to_vec()), Code::Ok);
        assert_eq!(ask("Range", all.encode_to_vec()), Code::Ok);
        assert_eq!(ask("DeleteRange", delete.encode_to_vec()), Code::Ok);
        assert_eq!(ask("Put", nothing.encode_to_vec()), Code::InvalidArgument);
        let recorded = calls(&one);
        let seen: Vec<(&str, &str, &str, i64)> =
            recorded.iter().map(|c| (c.method.as_str(), c.key.as_str(), c.end.as_str(), c.count)).collect();
        let wanted = [
            ("put", "foo", "", 1),
            ("get", "fo", "fp", 1),
            ("get", "", GREATEST, 1),
            ("del", "foo", "", 1),
            ("put", "", "", 0),
        ];
        assert_eq!(seen, wanted);
        assert!(
            recorded[1].revision == recorded[0].revision && recorded[3].revision == recorded[0].revision + 1
        );
        assert!(
            recorded[4].error.contains("key is not provided") && recorded[4].revision == 0,
            "{:?}",
            recorded[4]
        );
        assert!(!format!("{recorded:?}").contains("secret"));
    }

    #[test]
    fn a_read_s_record_tells_the_revision_that_it_named() {
        let one = One::start();
        let put = pb::PutRequest { key: "foo".into(), ..Default::default() };
        assert_eq!(one.ask("etcdserverpb.KV/Put", framed(&put.encode_to_vec())).code(), Code::Ok);
        for revision in [0, 1, -1] {
            let get = pb::RangeRequest { key: "foo".into(), revision, ..Default::default() };
            assert_eq!(one.ask("etcdserverpb.KV/Range", framed(&get.encode_to_vec())).code(), Code::Ok);
        }
        let recorded = calls(&one);
        assert_eq!(recorded.iter().map(|call| call.past).collect::<Vec<_>>(), [None, None, Some(1), None]);
    }

    /// A lesson must not take keys that were only counted for keys that were read.
    #[test]
    fn a_read_s_record_counts_the_keys_in_the_answer() {
        let one = One::start();
        for key in ["a", "b", "c"] {
            let put = pb::PutRequest { key: key.into(), ..Default::default() };
            assert_eq!(one.ask("etcdserverpb.KV/Put", framed(&put.encode_to_vec())).code(), Code::Ok);
        }
        for (limit, count_only) in [(0, false), (2, false), (0, true)] {
            let (key, range_end) = ("a".into(), "z".into());
            let get = pb::RangeRequest { key, range_end, limit, count_only, ..Default::default() };
            assert_eq!(one.ask("etcdserverpb.KV/Range", framed(&get.encode_to_vec())).code(), Code::Ok);
        }
        let counts: Vec<i64> = calls(&one).iter().skip(3).map(|call| call.count).collect();
        assert_eq!(counts, [3, 2, 0]);
    }

    /// `etcdctl` waits 5 s, and a member without a leader answers later.
    #[test]
    fn a_call_whose_client_waits_no_longer_is_recorded() {
        let one = One::start();
        one.disk.slow_down(Duration::from_millis(200));
        let put = pb::PutRequest { key: "foo".into(), ..Default::default() };
        one.runtime.block_on(async {
            let mut put = Box::pin(one.face.clone().record_put(put));
            assert!(futures::poll!(&mut put).is_pending());
        });
        let recorded: Vec<(i64, String)> = calls(&one).into_iter().map(|c| (c.revision, c.error)).collect();
        assert_eq!(recorded, [(0, CANCELED.to_string())]);
    }

    #[test]
    fn a_watch_s_record_tells_what_it_was_sent() {
        let request = WatchRequest { key: "foo".into(), ..WatchRequest::default() };
        let event = |kind, key: &str| {
            let kv = pb::KeyValue { key: key.to_string().into(), ..Default::default() };
            pb::Event { kind, kv: Some(kv), ..Default::default() }
        };
        let call = watch_call(&request, 7, &[event(0, "foo"), event(1, "foo")]);
        assert_eq!((call.method.as_str(), call.count, call.revision), ("watch", 2, 7));
        assert_eq!(call.events, ["PUT foo", "DELETE foo"]);
        let long = watch_call(&request, 7, &vec![event(0, &"x".repeat(2 * KEY_MAX)); 100]);
        assert_eq!((long.count, long.events.len()), (100, EVENTS_MAX));
        assert!(long.events[0].len() < KEY_MAX + 10);
    }
}
