//! Records of DNS look-ups: the question, and the code and number of answers of its reply.

use hickory_proto::op::Message;
use std::net::IpAddr;
use tap::Lookup;

/// Codes of answers by their numbers (RFC 1035, 4.1.1), in the words of `dig`.
const CODES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

/// Reads the first question, and the header of its reply. `None` if the question cannot be read.
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

#[cfg(test)]
mod tests {
    use super::super::tests::zone;
    use super::super::{CurrentZone, Resolvers, Server, forwards};
    use super::*;
    use hickory_proto::op::Query;
    use hickory_proto::rr::{Name, RecordType};
    use rng::Rng;
    use std::sync::Arc;
    use tap::{Event, Record, Tap};

    #[tokio::test]
    async fn who_looked_what_up_is_recorded_with_the_answer() {
        let (zone, upstream) = (CurrentZone::new(zone()), Resolvers::new(vec![]));
        let server = Server { zone, upstream, forwards: forwards(), rng: Rng::seeded(1), tap: Tap::new() };
        for (name, kind) in [("DB.default", RecordType::A), ("web.defualt", RecordType::AAAA)] {
            let mut request = Message::query();
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
        ];
        assert_eq!(told, wanted);
    }
}
