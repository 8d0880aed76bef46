//! Bent input for everything that reads input of others.

use super::client;
use super::commands::{self, Facts, Session};
use super::log;
use super::resp::{Replies, Requests, split_line, write_request};
use super::store::Database;
use rng::fuzz::{Target, all};

const WORDS: &[&str] = &[
    "SET",
    "GET",
    "INCR",
    "HSET",
    "HGETALL",
    "RPUSH",
    "LPOP",
    "LRANGE",
    "SADD",
    "SREM",
    "EXPIRE",
    "SCAN",
    "KEYS",
    "RENAME",
    "MGET",
    "PX",
    "NX",
    "KEEPTTL",
    "MATCH",
    "COUNT",
    "-1",
    "0",
    "9223372036854775807",
    "-9223372036854775808",
    "*2\r\n",
    "$3\r\n",
    "$-1\r\n",
    "\r\n",
    "\"",
    "\\x",
    "'",
    "[a-",
    "**",
    " ",
];

/// Runs all requests; understood if none is broken.
fn requests(input: &[u8]) -> bool {
    let (mut requests, mut db, mut session) = (Requests::default(), Database::default(), Session::default());
    let (mut replies, facts) = (Replies::default(), Facts::default());
    let mut now = 0;
    for piece in input.chunks(7) {
        requests.push(piece);
        loop {
            match requests.next() {
                Ok(None) => break,
                Err(_) => return false,
                Ok(Some(words)) => {
                    now += 1;
                    let done = commands::run(&mut db, &mut session, words, (now, &facts), &mut replies);
                    // What is logged can be read again.
                    for record in done.records {
                        let mut written = Vec::new();
                        write_request(&record, &mut written);
                        let mut again = Requests::default();
                        again.push(&written);
                        assert_eq!(again.next(), Ok(Some(record.clone())), "as it was logged");
                        // An error is allowed: the value may have another type.
                        let _ = commands::replay(&mut Database::default(), record);
                    }
                    let bytes = replies.take_finished();
                    let mut rest = &bytes[..];
                    client::read_reply(&mut rest, 8).expect("a reply that a client can read");
                    assert!(rest.is_empty(), "one reply for one request");
                }
            }
        }
    }
    // What was counted is what is there.
    let before = db.used_bytes();
    let keys: Vec<Vec<u8>> = db.iter().map(|(key, _)| key.clone()).collect();
    keys.iter().for_each(|key| drop(db.remove(key)));
    assert_eq!((db.used_bytes(), db.count_expiring()), (0, 0), "{before} bytes were counted");
    true
}

fn reply(input: &[u8]) -> bool {
    let mut input = input;
    client::read_reply(&mut input, 8).is_ok()
}

fn logged(input: &[u8]) -> bool {
    log::replay_log(input, &mut Database::default()).is_ok()
}

fn line(input: &[u8]) -> bool {
    split_line(input).is_some()
}

#[test]
fn nonsense_is_refused_in_time() {
    const LINES: [&str; 4] = [
        "set a 1 px 5 nx\nincr a\nappend a b\nget a\ngetset a \"\\x00\"\nmset a 1 b 2\nmget a b c\n",
        "hset h a 1 b 2\nhincrby h a 5\nhgetall h\nhdel h a b\ntype h\nrename h g\nexpire g 1\nttl g\n",
        "rpush l a b c\nlrange l -2 5\nlpop l 2\nsadd s a b\nsrem s a\nsmembers s\nscan 0 match *[a-c]? count 3\n",
        "keys h*\\*[^x]\ndel a b\nflushall async\ninfo\nclient setname x\npersist a\nexpireat a 5\nsave\n",
    ];
    let mut array = Vec::new();
    write_request(&["SET", "a", "b c"], &mut array);
    write_request(&["LRANGE", "a", "0", "-1"], &mut array);
    let mut examples: Vec<Vec<u8>> = LINES.iter().map(|text| text.as_bytes().to_vec()).collect();
    examples.push(array);
    let file = log::tests::example();
    let replies = ["*2\r\n$1\r\na\r\n*1\r\n:5\r\n", "-ERR x\r\n", "*-1\r\n", "$-1\r\n", "+OK\r\n"];
    all(
        "applets::kv::fuzz::nonsense_is_refused_in_time",
        vec![
            Target { name: "requests", examples, words: WORDS, reads: requests },
            Target { name: "log", examples: vec![file], words: WORDS, reads: logged },
            Target::text("reply", &replies, WORDS, reply),
            Target::text("line", &LINES, WORDS, line),
        ],
    );
}
