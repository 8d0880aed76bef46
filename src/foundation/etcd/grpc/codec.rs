//! Messages on a stream, and etcd's word for one that nests too deeply.

use super::super::api;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder};
use tonic_prost::ProstCodec;

/// The end of prost's text for a message that has more than 100 others inside each other. Of
/// etcd's messages only a transaction can.
const TOO_DEEP: &str = "recursion limit reached";

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

#[cfg(test)]
mod tests {
    use super::super::fuzz::One;
    use crate::pb;
    use prost::Message;
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

    /// etcd takes 128 levels: what is above 50 is refused here with the same error as 129 there.
    #[test]
    fn a_transaction_that_nests_too_deeply_is_refused_in_etcds_words() {
        let one = One::start();
        let told = |levels| {
            let status = one.ask("etcdserverpb.KV/Txn", super::super::fuzz::framed(&nested(levels)));
            (status.code(), status.message().to_string())
        };
        assert_eq!(told(50).0, Code::Ok);
        let refused = (Code::InvalidArgument, crate::api::Error::TooManyOps.to_string());
        for levels in [51, 60, 128, 129, 1000] {
            assert_eq!(told(levels), refused, "{levels} levels");
        }
    }
}
