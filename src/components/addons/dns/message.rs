//! Messages: parses requests, and builds replies that fit into the bytes that a client takes. All
//! of it is pure.

use super::answer::{Answer, additional, answer, authority};
use super::limits::{EDNS_MAX, RECORDS_MAX};
use super::zone::Zone;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use std::collections::{HashMap, HashSet};

/// Bytes of a message's header (RFC 1035, 4.1.1).
const HEADER_LEN: usize = 12;
/// [`EDNS_MAX`] as an OPT record has it.
const PAYLOAD_MAX: u16 = EDNS_MAX as u16;
/// Bytes of an OPT record without options: the root's name, type, class, TTL and length.
const OPT_LEN: usize = 11;

/// A reply to a message, before it is encoded.
pub(super) enum Reply {
    Whole(Message),
    /// To be completed by what is answered outside for this name.
    Follow(Message, Name),
    /// The whole message has to be asked outside.
    Outside,
}

/// Returns a reply without an answer: with the question, and the bits that are copied from it, RD
/// and CD (RFC 6895, 2).
pub(super) fn response_to(request: &Message) -> Message {
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.checking_disabled = request.metadata.checking_disabled;
    response.metadata.recursion_available = true;
    response.add_queries(request.queries.iter().cloned());
    response
}

/// Builds the reply to a message, for at most `room` bytes. `chance` is a random number.
pub(super) fn reply(zone: &Zone, request: &Message, room: usize, chance: usize) -> Option<Reply> {
    let mut response = response_to(request);
    if request.metadata.op_code != OpCode::Query || request.metadata.message_type != MessageType::Query {
        response.metadata.response_code = ResponseCode::NotImp;
        return Some(Reply::Whole(response));
    }
    if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        response.metadata.response_code = ResponseCode::BADVERS; // RFC 6891, 6.1.3
        return Some(Reply::Whole(response));
    }
    // Exactly one, as CoreDNS demands.
    let [query] = request.queries.as_slice() else {
        response.metadata.response_code = ResponseCode::FormErr;
        response.queries.clear();
        return Some(Reply::Whole(response));
    };
    // The names of the cluster are of this class alone. CoreDNS refuses the others, too, unless its
    // Corefile has `forward`: then it does not look at the class.
    if query.query_class() != DNSClass::IN {
        response.metadata.response_code = ResponseCode::Refused;
        return Some(Reply::Whole(response));
    }
    response.metadata.authoritative = true;
    match answer(zone, query, room, chance) {
        Answer::Forward => return Some(Reply::Outside),
        Answer::Follow(records, target) => {
            response.add_answers(records);
            return Some(Reply::Follow(response, target));
        }
        Answer::Records(records) if records.is_empty() => {
            response.add_authority(authority(zone, query.name())?);
        }
        Answer::Records(records) => {
            response.add_additionals(additional(zone, &records, room, chance));
            response.add_answers(records);
        }
        // As CoreDNS, before its caches are synced.
        Answer::NoSuchName if zone.is_unsynced => {
            response.metadata.response_code = ResponseCode::ServFail;
            response.metadata.authoritative = false;
        }
        Answer::Refused => {
            response.metadata.response_code = ResponseCode::Refused;
            response.metadata.authoritative = false;
        }
        Answer::NoSuchName => {
            response.metadata.response_code = ResponseCode::NXDomain;
            response.add_authority(authority(zone, query.name())?);
        }
    }
    Some(Reply::Whole(response))
}

/// The outcome of [`serve`].
pub(super) enum Served {
    Reply(Vec<u8>),
    /// To be asked outside.
    Outside(Box<Outside>),
    /// The bytes are no message, or one that gets no reply.
    Nothing,
}

/// A question for the resolvers outside.
pub(super) struct Outside {
    pub(super) request: Message,
    /// The answer so far and the name to ask for; `None`: the message is asked as it came.
    pub(super) follow: Option<(Message, Name)>,
}

/// Answers the bytes of a client, in at most `limit` bytes or as many as the request allows.
pub(super) fn serve(zone: &Zone, bytes: &[u8], limit: usize, chance: usize) -> Served {
    let Ok(request) = Message::from_vec(bytes) else {
        return unreadable(bytes).map_or(Served::Nothing, Served::Reply);
    };
    if request.metadata.message_type != MessageType::Query {
        return Served::Nothing; // an answer to an answer would go to and fro for ever
    }
    match reply(zone, &request, room(&request, limit), chance) {
        Some(Reply::Whole(response)) => {
            encode(&request, response, limit).map_or(Served::Nothing, Served::Reply)
        }
        Some(Reply::Follow(response, target)) => {
            Served::Outside(Box::new(Outside { request, follow: Some((response, target)) }))
        }
        Some(Reply::Outside) => Served::Outside(Box::new(Outside { request, follow: None })),
        None => Served::Nothing,
    }
}

/// Returns how many bytes a reply may have: `limit`, or as many as the request allows.
fn room(request: &Message, limit: usize) -> usize {
    let allowed = request.edns.as_ref().map_or(0, |e| usize::from(e.max_payload()));
    limit.max(allowed.min(EDNS_MAX))
}

/// Answers a question that cannot be parsed with FORMERR. `None` if its header says that it is no
/// question: an answer gets no answer.
fn unreadable(bytes: &[u8]) -> Option<Vec<u8>> {
    let [id_high, id_low, flags, _] = *bytes.first_chunk()?;
    if bytes.len() < HEADER_LEN || flags & 0x80 != 0 {
        return None;
    }
    let operation = OpCode::from_u8((flags >> 3) & 0xf);
    let response =
        Message::error_msg(u16::from_be_bytes([id_high, id_low]), operation, ResponseCode::FormErr);
    response.to_vec().ok()
}

/// Encodes a reply in at most `limit` bytes, or as many as the request allows: with as many answers
/// as fit, then additional records, and with the truncation bit if some answers do not. A request
/// with an OPT record gets one (RFC 6891, 6.1.1).
pub(super) fn encode(request: &Message, mut response: Message, limit: usize) -> Option<Vec<u8>> {
    let room = room(request, limit);
    let opt = request.edns.as_ref().map(|asked| {
        let mut edns = Edns::new();
        edns.set_max_payload(PAYLOAD_MAX);
        edns.set_dnssec_ok(asked.flags().dnssec_ok);
        edns
    });
    response.edns.clone_from(&opt);
    match response.to_vec() {
        Ok(encoded) if encoded.len() <= room => return Some(encoded),
        _ => response.edns = None,
    }
    let left = room - opt.as_ref().map_or(0, |_| OPT_LEN);
    let mut encoded = Vec::new();
    let mut encoder = BinEncoder::new(&mut encoded);
    encoder.set_max_size(u16::try_from(left).unwrap_or(u16::MAX));
    response.emit(&mut encoder).ok()?;
    // The encoder leaves out the records that do not fit, and the header counts the others.
    let count = |at: usize| Some(u16::from_be_bytes([*encoded.get(at)?, *encoded.get(at + 1)?]));
    let (answers, additional) = (usize::from(count(6)?), usize::from(count(10)?));
    // Additional records may be left out without the bit (RFC 2181, 9).
    response.metadata.truncation |= answers < response.answers.len() || !response.authorities.is_empty();
    response.answers.truncate(answers);
    response.authorities.clear();
    response.additionals.truncate(additional);
    response.edns = opt;
    response.to_vec().ok()
}

/// Builds the question for the target of a CNAME, as it is asked outside, with a random id of its
/// own. As in CoreDNS the answer may have the size that the client allows, and is checked by DNSSEC
/// or not as the client says (the bit CD).
pub(super) fn question_for(request: &Message, target: &Name) -> Option<Vec<u8>> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.metadata.checking_disabled = request.metadata.checking_disabled;
    question.edns = request.edns.as_ref().map(|asked| {
        let mut edns = Edns::new();
        edns.set_max_payload(asked.max_payload().min(PAYLOAD_MAX));
        edns
    });
    question.add_query(Query::query(target.clone(), request.queries.first()?.query_type()));
    question.to_vec().ok()
}

/// Returns whether a message from a server answers this question: it has the same id and the same
/// question. An error response may leave the question out. An attacker who forges the server's
/// address has to guess both the port and the id.
pub(super) fn is_answer(question: &[u8], message: &[u8]) -> bool {
    let header = |bytes: &[u8]| bytes.first_chunk::<HEADER_LEN>().copied();
    let (Some(asked), Some(said)) = (header(question), header(message)) else { return false };
    let (is_response, failed) = (said[2] & 0x80 != 0, said[3] & 0xf != 0);
    if asked[..2] != said[..2] || !is_response {
        return false;
    }
    if failed && said[4..6] == [0, 0] {
        return true;
    }
    // The first name of a message has no pointers, so the bytes are compared; a server may change
    // the case of letters.
    let Some(end) = end_of_question(question) else { return false };
    let of = |bytes: &[u8]| bytes.get(HEADER_LEN..end).map(<[u8]>::to_ascii_lowercase);
    said[4..6] == asked[4..6] && of(question) == of(message)
}

/// Returns the length of a message's header and its first question: the name, and two bytes each
/// for type and class.
fn end_of_question(message: &[u8]) -> Option<usize> {
    let mut at = HEADER_LEN;
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 1 + 4),
            label => at += 1 + label,
        }
    }
}

/// Adds what was answered outside for `target` to an answer that leads there: the CNAMEs that lead
/// on, and the records of the type that was asked at their end. That a name is not known there, or
/// that there is no answer, is passed on. A message that cannot be read is a failure (SERVFAIL),
/// unless its truncation bit is set: then it may end inside of a record (RFC 2181, 9), and the
/// client is to ask over TCP. An answer that is no failure keeps the authority of its first name,
/// which is the cluster's (RFC 1035, 4.1.1).
pub(super) fn complete(mut response: Message, target: &Name, outside: &[u8]) -> Option<Message> {
    let Ok(found) = Message::from_vec(outside) else {
        response.metadata.truncation = outside.get(2).is_some_and(|flags| flags & 0x02 != 0);
        if !response.metadata.truncation {
            response.answers.clear();
            response.metadata.authoritative = false;
            response.metadata.response_code = ResponseCode::ServFail;
        }
        return Some(response);
    };
    let kind = response.queries.first()?.query_type();
    let cname = |record: &Record| match &record.data {
        RData::CNAME(target) => Some((record.name.to_lowercase(), target.0.to_lowercase())),
        _ => None,
    };
    let mut links: HashMap<Name, Name> = found.answers.iter().filter_map(cname).collect();
    let mut chain = HashSet::from([target.to_lowercase()]);
    let mut last = target.to_lowercase();
    while let Some(next) = links.remove(&last) {
        chain.insert(next.clone());
        last = next;
    }
    let wanted = |record: &Record| {
        [kind, RecordType::CNAME].contains(&record.record_type())
            && chain.contains(&record.name.to_lowercase())
    };
    let room = RECORDS_MAX.saturating_sub(response.answers.len());
    response.add_answers(found.answers.into_iter().filter(wanted).take(room));
    let code = found.metadata.response_code;
    response.metadata.response_code = code;
    response.metadata.authoritative &= matches!(code, ResponseCode::NoError | ResponseCode::NXDomain);
    response.metadata.truncation = found.metadata.truncation;
    Some(response)
}
