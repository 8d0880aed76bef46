//! Messages on a stream, and etcd's words for those that nest too deeply or are too large.

use super::super::api;
use super::super::kv::REQUEST_MAX;
use http::Response;
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;

/// Beside a request: what gRPC adds to it.
const OVERHEAD_MAX: usize = 512 << 10;
/// Bytes of the largest message that is accepted, as in etcd.
pub(super) const MESSAGE_MAX: usize = REQUEST_MAX + OVERHEAD_MAX;

/// The end of prost's text for a message that has more than 100 others inside each other. Of
/// etcd's messages only a transaction can.
const TOO_DEEP: &str = "recursion limit reached";
/// The beginning of tonic's text for a message above its limit. The message's length follows.
const TOO_LARGE: &str = "Error, decoded message length too large: found ";
/// The beginning of the text of a server in Go for the same. The two sizes follow.
pub(super) const RECEIVED_TOO_LARGE: &str = "grpc: received message larger than max";

/// [`ProstCodec`] for a server that sends `A` and receives `Q`. A transaction that nests too deeply
/// is refused as etcd refuses it, with `TooManyOps`.
pub(super) struct Messages<A, Q>(ProstCodec<A, Q>);

impl<A, Q> Default for Messages<A, Q> {
    fn default() -> Messages<A, Q> {
        Messages(ProstCodec::new())
    }
}

impl<A, Q> Codec for Messages<A, Q>
where
    A: Message + Send + 'static,
    Q: Message + Default + Send + 'static,
{
    type Encode = A;
    type Decode = Q;
    type Encoder = <ProstCodec<A, Q> as Codec>::Encoder;
    type Decoder = Received<<ProstCodec<A, Q> as Codec>::Decoder>;
    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }
    fn decoder(&mut self) -> Self::Decoder {
        Received(self.0.decoder())
    }
}

pub(super) struct Received<D>(D);

impl<D: Decoder<Error = Status>> Decoder for Received<D> {
    type Item = D::Item;
    type Error = Status;
    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<D::Item>, Status> {
        self.0.decode(bytes).map_err(|status| match status.message().ends_with(TOO_DEEP) {
            true => api::Error::TooManyOps.into(),
            false => status,
        })
    }
}

/// Refuses a message above [`MESSAGE_MAX`] as servers in Go do. tonic's code for it, `OutOfRange`,
/// is that of a compacted revision with etcd. tonic looks at the length before it asks a decoder,
/// so [`Received`] cannot do it. Every other status stays as it is.
pub(super) fn as_in_go(status: Status) -> Status {
    match status.message().strip_prefix(TOO_LARGE).and_then(|rest| rest.split(' ').next()) {
        Some(length) => {
            Status::resource_exhausted(format!("{RECEIVED_TOO_LARGE} ({length} vs. {MESSAGE_MAX})"))
        }
        None => status,
    }
}

/// As [`as_in_go`], for a whole answer. One that was refused before its service was called has its
/// status in its head.
pub(super) fn answer_as_in_go(answer: Response<Body>) -> Response<Body> {
    match Status::from_header_map(answer.headers()) {
        Some(status) if status.message().starts_with(TOO_LARGE) => as_in_go(status).into_http(),
        _ => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzz::{One, PATIENCE, framed};
    use super::*;
    use crate::pb;
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use tonic::Code;

    /// Transactions inside each other; the last one puts a key.
    fn nested(levels: usize) -> Vec<u8> {
        let put = pb::PutRequest { key: "key".into(), ..Default::default() };
        let op = |request| pb::RequestOp { request: Some(request) };
        let around = |inner| pb::TxnRequest { success: vec![op(inner)], ..Default::default() };
        let last = around(pb::Request::RequestPut(put));
        let whole = (1..levels).fold(last, |inner, _| around(pb::Request::RequestTxn(inner)));
        whole.encode_to_vec()
    }

    /// A client that goes by codes would take `OutOfRange` for a compacted revision.
    #[test]
    fn a_message_that_is_too_large_is_refused_in_grpcs_words() {
        let one = One::start();
        let large = |size: usize| {
            let put = pb::PutRequest { key: "key".into(), value: vec![7; size].into(), ..Default::default() };
            framed(&put.encode_to_vec())
        };
        // To the end of the answer: a watch ends, too.
        let status_of = |path: &str, body: Vec<u8>| {
            let request = http::Request::post(format!("/{path}"))
                .header("content-type", "application/grpc")
                .body(Full::new(Bytes::from(body)))
                .expect("a request");
            let answer = async {
                let answer = one.face.clone().answer(request).await.expect("an answer");
                let in_head = Status::from_header_map(answer.headers());
                let body = answer.into_body().collect().await.expect("a body");
                in_head.or_else(|| Status::from_header_map(body.trailers()?)).expect("a code")
            };
            let status = one.runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await });
            let status = status.expect("an answer in time");
            (status.code(), status.message().to_string())
        };
        let body = large(MESSAGE_MAX);
        let words = format!("grpc: received message larger than max ({} vs. 2097152)", body.len() - 5);
        for path in [
            "etcdserverpb.KV/Put",
            "etcdserverpb.Lease/LeaseKeepAlive",
            "etcdserverpb.Maintenance/Snapshot",
            "etcdserverpb.Watch/Watch",
        ] {
            assert_eq!(status_of(path, body.clone()), (Code::ResourceExhausted, words.clone()), "{path}");
        }
        // What gRPC takes, and etcd does not.
        let refused = crate::api::Error::RequestTooLarge.to_string();
        assert_eq!(
            status_of("etcdserverpb.KV/Put", large(MESSAGE_MAX - 100)),
            (Code::InvalidArgument, refused)
        );
    }

    /// etcd takes 128 levels: what is above 50 is refused here with the same error as 129 there.
    #[test]
    fn a_transaction_that_nests_too_deeply_is_refused_in_etcds_words() {
        let one = One::start();
        let status_of = |levels| {
            let status = one.ask("etcdserverpb.KV/Txn", framed(&nested(levels)));
            (status.code(), status.message().to_string())
        };
        assert_eq!(status_of(50).0, Code::Ok);
        let refused = (Code::InvalidArgument, crate::api::Error::TooManyOps.to_string());
        for levels in [51, 60, 128, 129, 1000] {
            assert_eq!(status_of(levels), refused, "{levels} levels");
        }
    }
}
