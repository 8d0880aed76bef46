//! Records of DNS look-ups: the question, and the code and number of answers of its reply.

use hickory_proto::op::Message;
use std::net::IpAddr;
use tap::Lookup;

/// Codes of answers by their numbers (RFC 1035, 4.1.1), in the words of `dig`.
const CODES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

/// The code of a reply to a request with a version of EDNS that the server does not know (RFC 6891,
/// 9).
const BADVERS: usize = 16;

/// Reads the first question, and the header of its reply. `None` if the question cannot be read.
pub(super) fn lookup(question: &[u8], reply: &[u8], from: IpAddr) -> Option<Lookup> {
    let request = Message::from_vec(question).ok()?;
    let asked = request.queries.first()?;
    let code = code_of(reply, request.edns.is_some())?;
    Some(Lookup {
        name: asked.name().to_lowercase().to_ascii().trim_end_matches('.').into(),
        kind: asked.query_type().to_string(),
        code: match code {
            BADVERS => "BADVERS".into(),
            _ => CODES.get(code).map_or_else(|| code.to_string(), |code| (*code).into()),
        },
        answers: u16::from_be_bytes([*reply.get(6)?, *reply.get(7)?]),
        from: from.to_string(),
    })
}

/// Returns the code of a reply. Its header has four bits of it; the OPT record of a reply to a
/// request that has one has the others (RFC 6891, 6.1.3): of BADVERS the header says NOERROR.
fn code_of(reply: &[u8], has_opt: bool) -> Option<usize> {
    let in_header = usize::from(reply.get(3)? & 0xf);
    let whole = has_opt.then(|| Message::from_vec(reply).ok()).flatten();
    Some(whole.map_or(in_header, |whole| u16::from(whole.metadata.response_code).into()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::zone;
    use super::super::{CurrentZone, Resolvers, Server, forwards};
    use super::*;
    use hickory_proto::op::{Edns, Query};
    use hickory_proto::rr::{Name, RecordType};
    use rng::Rng;
    use std::sync::Arc;
    use tap::{Event, Record, Tap};

    #[tokio::test]
    async fn who_looked_what_up_is_recorded_with_the_answer() {
        let (zone, upstream) = (CurrentZone::new(zone()), Resolvers::new(vec![]));
        let server = Server { zone, upstream, forwards: forwards(), rng: Rng::seeded(1), tap: Tap::new() };
        for (name, kind, version) in [
            ("DB.default", RecordType::A, None),
            ("web.defualt", RecordType::AAAA, Some(0)),
            ("web.default", RecordType::A, Some(1)),
        ] {
            let mut request = Message::query();
            request.edns = version.map(|version| {
                let mut edns = Edns::new();
                edns.set_version(version);
                edns
            });
            let name = Name::from_ascii(format!("{name}.svc.cluster.local.")).unwrap();
            request.add_query(Query::query(name, kind));
            let pod = IpAddr::from([10, 244, 1, 7]);
            server.answer_tcp(&request.to_vec().unwrap(), pod).await.expect("an answer");
        }
        assert!(server.answer_tcp(b"nonsense", IpAddr::from([10, 244, 1, 7])).await.is_none());
        let told = |record: &Arc<Record>| match &record.event {
            Event::Lookup(l) => format!("{} {} {} {} {}", l.from, l.name, l.kind, l.code, l.answers),
            other => panic!("{other:?}"),
        };
        let told: Vec<String> = server.tap.since(0).iter().map(told).collect();
        let wanted = [
            "10.244.1.7 db.default.svc.cluster.local A NOERROR 2",
            "10.244.1.7 web.defualt.svc.cluster.local AAAA NXDOMAIN 0",
            "10.244.1.7 web.default.svc.cluster.local A BADVERS 0",
        ];
        assert_eq!(told, wanted);
    }
}
