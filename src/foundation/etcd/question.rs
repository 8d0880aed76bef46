//! What members ask their leader because the log does not say it, and the answers, as bytes.
//!
//! `version u8 | kind u8 | fields`. In etcd members ask each other with HTTP (`lease/leasehttp`).

use bytes::Bytes;
use raft::fields::{DecodeError, Reader, put_i64, put_u64};
use std::time::Duration;

/// Version 1 is the first. A member of another version does not answer: it is asked again when it
/// has been upgraded, or until its client gives up.
const VERSION: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Asks how long a lease still has. Each member counts from when it applied the last renewal;
    /// what the leader counts is what ends the lease.
    LeaseLeft { id: i64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// `None`: there is no such lease.
    LeaseLeft(Option<Duration>),
}

fn begin(r: &mut Reader) -> Result<(), DecodeError> {
    match (r.u8()?, r.u8()?) {
        (VERSION, 1) => Ok(()),
        (VERSION, kind) => Err(DecodeError::Unknown { what: "question", value: kind.into() }),
        (version, _) => Err(DecodeError::Unknown { what: "version of a question", value: version.into() }),
    }
}

impl Question {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION, 1];
        let Question::LeaseLeft { id } = self;
        put_i64(&mut out, *id);
        out.into()
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Question, DecodeError> {
        let r = &mut Reader::new(bytes.clone());
        begin(r)?;
        let question = Question::LeaseLeft { id: r.i64()? };
        r.end()?;
        Ok(question)
    }
}

impl Answer {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![VERSION, 1];
        let Answer::LeaseLeft(left) = self;
        out.push(u8::from(left.is_some()));
        put_u64(&mut out, left.map_or(0, |left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)));
        out.into()
    }

    pub(crate) fn decode(bytes: &Bytes) -> Result<Answer, DecodeError> {
        let r = &mut Reader::new(bytes.clone());
        begin(r)?;
        let (is_there, left) = (r.bool()?, Duration::from_millis(r.u64()?));
        r.end()?;
        Ok(Answer::LeaseLeft(is_there.then_some(left)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_survive_the_wire() {
        for id in [i64::MIN, -1, 0, 7, i64::MAX] {
            let question = Question::LeaseLeft { id };
            assert_eq!(Question::decode(&question.encode()), Ok(question));
        }
        for left in [None, Some(0), Some(1), Some(u64::MAX)] {
            let answer = Answer::LeaseLeft(left.map(Duration::from_millis));
            assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let good = Question::LeaseLeft { id: 7 }.encode();
        for (at, byte) in [(0, 2), (0, 0), (1, 9)] {
            let mut bad = good.to_vec();
            bad[at] = byte;
            assert!(Question::decode(&bad.into()).is_err(), "byte {at} is {byte}");
        }
        for end in 0..good.len() {
            assert!(Question::decode(&good.slice(..end)).is_err());
        }
        let long: Bytes = [&good[..], b"?"].concat().into();
        assert_eq!(Question::decode(&long), Err(DecodeError::Long(1)));
    }
}
