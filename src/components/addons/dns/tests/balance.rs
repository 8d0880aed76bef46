//! With which of its addresses a name is answered.

use crate::dns::message::serve;
use crate::dns::tests::slice;
use crate::dns::zone::Entry;
use crate::dns::*;
use hickory_proto::op::Query;
use hickory_proto::rr::{Name, RecordType};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// An answer of 512 bytes has room for some 30 addresses, and each of the others is answered to
/// some client, too: CoreDNS' `loadbalance` shuffles them before the answer is cut.
#[test]
fn no_address_is_left_out_of_all_answers_over_udp() {
    let mut zone = Zone { domain: "cluster.local".into(), ..Zone::default() };
    let many = (0..100u8).map(|n| (format!("h{n}"), Ipv4Addr::new(10, 244, 1, n)));
    zone.services
        .insert(("d".into(), "many".into()), Entry { slices: vec![slice(many)], ..Entry::default() });
    let zone = zone.indexed();
    let mut request = Message::query();
    request.add_query(Query::query(Name::from_ascii("many.d.svc.cluster.local.").unwrap(), RecordType::A));
    let question = request.to_vec().unwrap();
    let addresses = |limit: usize, chance: usize| -> Vec<String> {
        let Served::Reply(reply) = serve(&zone, &question, limit, chance) else { panic!("no reply") };
        let said = Message::from_vec(&reply).unwrap();
        assert_eq!(said.metadata.truncation, said.answers.len() < 100);
        said.answers.iter().map(|record| record.data.to_string()).collect()
    };
    let mut answered = BTreeSet::new();
    for chance in 0..100 {
        let some = addresses(UDP_MAX, chance);
        assert!((25..35).contains(&some.len()), "{}", some.len());
        assert_eq!(some[0], format!("10.244.1.{chance}"));
        answered.extend(some);
    }
    assert_eq!(answered.len(), 100);
    let whole: BTreeSet<String> = addresses(usize::from(u16::MAX), 7).into_iter().collect();
    assert_eq!(whole, answered, "over TCP each is there once");
}
