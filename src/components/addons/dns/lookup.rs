//! What a record tells of a question and its answer.

use hickory_proto::op::Message;
use std::net::IpAddr;
use tap::Lookup;

/// Codes of answers by their numbers (RFC 1035, 4.1.1), in the words of `dig`.
const CODES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

/// Reads the first question, and of the answer its header. `None` if it asks for nothing that can
/// be read.
pub(super) fn lookup(question: &[u8], reply: &[u8], from: IpAddr) -> Option<Lookup> {
    let request = Message::from_vec(question).ok()?;
    let asked = request.queries.first()?;
    let code = usize::from(reply.get(3)? & 0xf);
    Some(Lookup {
        name: asked.name().to_lowercase().to_ascii().trim_end_matches('.').into(),
        kind: asked.query_type().to_string(),
        code: CODES.get(code).map_or_else(|| code.to_string(), |code| (*code).into()),
        answers: u16::from_be_bytes([*reply.get(6)?, *reply.get(7)?]),
        from: from.to_string(),
    })
}
